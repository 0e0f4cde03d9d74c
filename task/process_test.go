package task_test

var children = map[string]func(){}
