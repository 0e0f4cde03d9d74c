"""Random programs on CPython's sched.scheduler, and what happened: programs.txt.

    python3.13 programs.py > programs.txt

"event ID DELAY PRIORITY SCRIPT" says what an event is when it is entered. Its action
goes through its script: eN enters event N, cN cancels it, sN takes N units of time, f
fails. "enter" enters some; "run" and "rundue" are the scheduler's; what happened comes
behind an arrow. A delay of more than 4 returns when half of it has passed.
"""

import random
import sched

PROGRAMS, EVENTS = 200, 14


class Fail(Exception):
    pass


class Program:
    def __init__(self, r):
        self.now, self.trace, self.handles, self.defs = 0, [], {}, {}
        self.s = sched.scheduler(lambda: self.now, self.delay)
        print("program")
        for i in range(EVENTS):
            script = []
            for _ in range(r.choice([0, 0, 1, 2, 3])):
                kind = r.choices("ecsf", [4, 3, 3, 1])[0]
                # An event enters only later ones, so that every program ends.
                n = {"e": r.randrange(i + 1, EVENTS) if i + 1 < EVENTS else None,
                     "c": r.randrange(EVENTS), "s": r.randrange(1, 6), "f": ""}[kind]
                if n is not None:
                    script.append(f"{kind}{n}")
            self.defs[i] = (r.randrange(-2, 10), r.randrange(-1, 2), script)
            print("event", i, *self.defs[i][:2], ",".join(script))
        for _ in range(3):
            ids = [r.randrange(EVENTS) for _ in range(r.randrange(1, 6))]
            print("enter", *ids)
            for i in ids:
                self.enter(i)
            name = r.choice(["run", "rundue"])
            while True:
                again = self.run(name)
                if not again:
                    break
            print("pending", *(f"{e.time}/{e.priority}" for e in self.s.queue))
        while not self.s.empty():
            self.run("run")

    def enter(self, i):
        delay, priority, _ = self.defs[i]
        self.handles[i] = self.s.enter(delay, priority, self.act, (i,))

    def delay(self, d):
        self.trace.append(f"delay{d}")
        self.now += d if d <= 4 else d // 2

    def act(self, i):
        self.trace.append(f"{self.now}:{i}")
        for word in self.defs[i][2]:
            n = int(word[1:] or 0)
            match word[0]:
                case "e":
                    self.enter(n)
                case "c" if n in self.handles:
                    try:
                        self.s.cancel(self.handles[n])
                        self.trace.append(f"canceled{n}")
                    except ValueError:
                        self.trace.append(f"no{n}")
                case "s":
                    self.now += n
                case "f":
                    raise Fail

    def run(self, name):
        try:
            left = self.s.run(blocking=name == "run")
            self.trace.append("end" if left is None else f"next{left}")
            return False
        except Fail:
            self.trace.append("fail")
            return True
        finally:
            print(name, "->", *self.trace)
            self.trace = []


r = random.Random(2718)
for _ in range(PROGRAMS):
    Program(r)
