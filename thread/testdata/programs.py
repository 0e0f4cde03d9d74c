"""Random programs on CPython's queues, and what happened: programs.txt.

    python3.13 programs.py > programs.txt

A call with "?" does not wait; one without is made by a thread of its own, which is
let run until it has ended or waits. After each call comes what it returned, if it
has, and then the calls before it that have ended by it: the number of the call and
what it returned.
"""

import queue
import random
import threading
import time

PROGRAMS, CALLS = 150, 40


class Program:
    def __init__(self, kind, bound):
        make = {"fifo": queue.Queue, "lifo": queue.LifoQueue, "priority": queue.PriorityQueue}
        self.q = make[kind](bound)
        self.threads = []
        self.ended = []  # (number, result)
        print("program", kind, bound)

    def result(self, fn, *args):
        try:
            v = fn(*args)
        except Exception as e:
            return type(e).__name__
        return v if type(v) is int else {None: "ok", True: "true", False: "false"}[v]

    def start(self, number, fn, *args):
        def body():
            result = self.result(fn, *args)
            self.ended.append((number, result))

        t = threading.Thread(target=body, daemon=True)
        self.threads.append(t)
        t.start()

    def settle(self):
        """Waits until every thread waits for something or has ended."""
        q = self.q
        while True:
            with q.mutex:
                self.threads = [t for t in self.threads if t.is_alive()]
                waiting = sum(len(c._waiters) for c in (q.not_empty, q.not_full, q.all_tasks_done))
                if waiting == len(self.threads):
                    return
            time.sleep(0.0002)

    def call(self, number, name, *args):
        q = self.q
        atonce = {
            "put?": q.put_nowait, "get?": q.get_nowait, "done": q.task_done, "len": q.qsize,
            "empty": q.empty, "full": q.full, "unfinished": lambda: q.unfinished_tasks,
            "shutdown": lambda: q.shutdown(), "shutdown!": lambda: q.shutdown(immediate=True),
            "put0": lambda v: q.put(v, timeout=0), "get0": lambda: q.get(timeout=0),
        }
        if name in atonce:
            own = self.result(atonce[name], *args)
        else:
            own = None
            self.start(number, {"put": q.put, "get": q.get, "join": q.join}[name], *args)
        self.settle()
        ended, self.ended = sorted(self.ended), []
        if own is not None:
            ended.insert(0, (number, own))
        print(name, *args, "->", *(f"{n}={r}" for n, r in ended))


def main():
    r = random.Random(314)
    for _ in range(PROGRAMS):
        bound = r.choice([-1, 0, 1, 1, 2, 3])
        p = Program(r.choice(["fifo", "lifo", "priority"]), bound)
        values = list(range(100))
        r.shuffle(values)
        end = r.randrange(CALLS)
        for number in range(CALLS):
            name = r.choices(
                ["put", "get", "put?", "get?", "put0", "get0", "done", "join", "len", "empty", "full", "unfinished"],
                [6, 6, 4, 4, 1, 1, 4, 1, 1, 1, 1, 1],
            )[0]
            if number >= end and r.random() < 0.1:
                name = r.choice(["shutdown", "shutdown!"])
            p.call(number, name, *([values.pop()] if name in ("put", "put?", "put0") else []))
        p.call(CALLS, "shutdown!")
        while p.q.unfinished_tasks:
            p.call(CALLS, "done")


main()
