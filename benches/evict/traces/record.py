#!/usr/bin/env python3
"""Turns the output of strace into a trace: which parts of which files below some directories were read, in which order.

    strace -f -y -s 0 -e trace=openat,read,pread64,lseek,mmap -o log -- COMMAND
    record.py log out.trace /usr /opt ...

A read at a position counts as what it returned; a mapping of a file as all of its part that the file has, but for those of
the dynamic loader, of which nobody knows what is touched. The format is in README.md. Names do not come into it.
"""

import os
import re
import sys

PAGE = 4096
LINE = re.compile(r"^(\d+) +(openat|read|pread64|lseek|mmap)\((.*)\) = (\S+)")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
NAMED = re.compile(r"(\d+)<(/[^>]*)>")


def whole_lines(log):
    """The lines of a log, calls that others interrupted put together."""
    open_calls = {}
    for line in log:
        if line.rstrip().endswith("<unfinished ...>"):
            open_calls[line.split(" ", 1)[0]] = line.rstrip()[: -len("<unfinished ...>")].rstrip()
            continue
        if resumed := RESUMED.match(line):
            begun = open_calls.pop(resumed[1], None)
            if begun is None:
                continue
            line = begun + resumed[3]
        yield line


def reads(log):
    """Each read as path, offset, length."""
    at = {}
    for line in whole_lines(log):
        call = LINE.match(line)
        if call is None:
            continue
        pid, name, args, result = call.groups()
        if name == "openat":
            if opened := NAMED.match(result):
                at[(pid, opened[1], opened[2])] = 0
            continue
        named = NAMED.search(args)
        if named is None or result.startswith("-"):
            continue
        key, path = (pid, named[1], named[2]), named[2]
        rest = [arg.strip() for arg in args.split(",")]
        if name == "lseek":
            at[key] = int(result)
        elif name == "read":
            start = at.get(key, 0)
            at[key] = start + int(result)
            yield path, start, int(result)
        elif name == "pread64":
            yield path, int(rest[-1]), int(result)
        elif "MAP_ANONYMOUS" not in args and "MAP_DENYWRITE" not in args:
            yield path, int(rest[-1], 16), int(rest[1])


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number):
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def main():
    log, out, *roots = sys.argv[1:]
    numbers, sizes, records = {}, [], []
    with open(log, errors="replace") as lines:
        for path, start, length in reads(lines):
            path = os.path.normpath(path)
            if not any(path.startswith(root.rstrip("/") + "/") for root in roots):
                continue
            if path not in numbers:
                if not os.path.isfile(path):
                    continue
                numbers[path] = len(sizes)
                sizes.append(os.path.getsize(path))
            number = numbers[path]
            end = min(start + length, sizes[number])
            if end <= start:
                continue
            first, last = start // PAGE, (end - 1) // PAGE
            if records and records[-1][0] == number and records[-1][2] in (first - 1, first):
                records[-1] = (number, records[-1][1], last)
            else:
                records.append((number, first, last))
    body = bytearray(b"LdTrace1") + varint(len(sizes)) + varint(len(records))
    for size in sizes:
        body += varint(size)
    before = 0
    for number, first, last in records:
        body += zigzag(number - before) + varint(first) + varint(last - first)
        before = number
    with open(out, "wb") as file:
        file.write(body)
    pages = sum(last - first + 1 for _, first, last in records)
    print(f"{len(sizes)} files of {sum(sizes)} bytes, {len(records)} reads of {pages} pages, {len(body)} bytes")


if __name__ == "__main__":
    main()
