"""Samples the stacks of this process's threads while the arbiter asks for it."""

import sys
# As they are before an application replaces them.
from _thread import get_ident, start_new_thread

# After how many seconds a thread gives the interpreter up to the one that samples, while a profile is taken. By default
# that is 5 ms: a shorter call would be over, and never seen. Where several threads work they take it from each other, too,
# and a shorter time costs more.
ALONE = 10e-6
AMONG_OTHERS = 1e-3

# How many calls a stack is shown with, the innermost ones: more would hold the interpreter for longer.
DEEPEST = 500
# How many calls all different stacks of a profile may have together: what is beyond is counted as one more stack.
ROOM = 100_000


def start(orders):
    'Starts the thread that samples; gives whether it did.'
    has_lock = getattr(sys, '_is_gil_enabled', lambda: True)()
    # Without the lock, frames change while they are read. What gevent has replaced is no thread.
    if not has_lock or type(start_new_thread) is not type(len):
        return False
    # Signals are for the main thread, which they wake. A crash is of the thread that it is in.
    import _signal
    crashes = {_signal.SIGABRT, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, _signal.SIGSEGV}
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals() - crashes)
    try:
        start_new_thread(run, (orders,))
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
    return True


def run(orders):
    own = get_ident()
    while True:
        orders.report(folded(sampled(orders.tick, own)))


def sampled(tick, own):
    'How often each stack was there: code objects, the innermost first.'
    counts, stacks = {}, {}
    room, others = ROOM, 0
    usual = None
    try:
        while tick():
            # The thread of a worker that is in no call: what runs in it is no Python. The module may be imported, or just
            # be so, when the first profile is waited for already.
            thread = getattr(sys.modules.get('threading'), 'Thread', None)
            idle = getattr(getattr(thread, 'run', None), '__code__', None)
            frames = sys._current_frames()
            if usual is None:
                usual = sys.getswitchinterval()
                sys.setswitchinterval(min(usual, ALONE if len(frames) <= 2 else AMONG_OTHERS))
            for ident, frame in frames.items():
                if ident == own or frame.f_code is idle:
                    continue
                stack = []
                while frame is not None and len(stack) < DEEPEST:
                    stack.append(frame.f_code)
                    frame = frame.f_back
                if frame is not None:
                    stack.append(None)
                key = tuple(map(id, stack))
                if key in counts:
                    counts[key] += 1
                elif len(stack) <= room:
                    room -= len(stack)
                    counts[key] = 1
                    # They are not freed meanwhile, and no other has their identities.
                    stacks[key] = stack
                else:
                    others += 1
            frames = frame = stack = None
    finally:
        if usual is not None:
            sys.setswitchinterval(usual)
    samples = [(stacks[key], count) for key, count in counts.items()]
    return samples + [([], others)] if others else samples


def folded(samples):
    'A line for each stack, the outermost call first.'
    lines = []
    for stack, count in samples:
        calls = [name(code) if code else '(more calls)' for code in reversed(stack)]
        lines.append(f'{";".join(calls) or "(other stacks)"} {count}\n')
    return ''.join(lines).encode('utf-8', 'replace').decode()


def name(code):
    function = getattr(code, 'co_qualname', code.co_name)
    text = f'{function} ({code.co_filename}:{code.co_firstlineno})'
    return text.replace(';', ',').replace('\n', ' ')
