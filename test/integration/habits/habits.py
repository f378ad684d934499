"""What the Python programs share: scenarios, and a transcript of what each one saw.

Usage: PROGRAM.py URL SERVERS
A scenario that needs more servers at the same time than there are is left out.
"""

import faulthandler
import re
import signal
import sys

seconds_max = 60
scenario_seconds_max = 8
scenarios = []


def scenario(servers=1):
    """Registers a function; `servers` is how many clients hold one at the same time."""

    def register(function):
        scenarios.append((servers, function))
        return function

    return register


def say(*values):
    print(*(repr(value) for value in values), flush=True)


def fails(function):
    """Says which error came, without what differs from run to run."""
    try:
        function()
    except Exception as error:
        code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        say(type(error).__name__, code, str(error).split("\n")[0])
    else:
        say("no error")


def url():
    return sys.argv[1]


def too_long(*_):
    raise TimeoutError("nothing came")


def main():
    signal.signal(signal.SIGALRM, too_long)
    # For a wait inside a library that no signal ends.
    faulthandler.dump_traceback_later(seconds_max, exit=True)
    have = int(sys.argv[2])
    for servers, function in scenarios:
        if servers > have:
            continue
        print("## " + function.__name__.replace("_", " "), flush=True)
        signal.alarm(scenario_seconds_max)
        try:
            function()
        except Exception as error:
            text = re.sub(r"\s+", " ", str(error))
            print("raised", type(error).__name__, text, "at line", line_of(error), flush=True)
        finally:
            signal.alarm(0)
    faulthandler.cancel_dump_traceback_later()


def line_of(error):
    """The last line of the program itself, not of a library."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == sys.argv[0]:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
