#!/usr/bin/env python3
"""Reads a cache directory by the words of format-spec.md alone, and says what there contradicts them.

It shares no line with larder, so that neither can repeat a mistake of the other. It takes no lock and writes nothing, and
needs a cache that nobody uses meanwhile. Keys and tags are not computed anew: BLAKE3 is not in Python's library.

    larder_read.py CACHEDIR     one JSON object: what the cache holds, and `complaints`; exit code 1 where there are any
"""

import json
import os
import struct
import sys
import zlib

SECTOR, MASK = 512, 2**64 - 1


class Invalid(Exception):
    """Why a sector is not believed."""


def number(sector, offset, size):
    return int.from_bytes(sector[offset : offset + size], "little")


def slot_hash(tag, chunk_no):
    h = number(tag, 0, 8) ^ (chunk_no * 0x9E3779B97F4A7C15 & MASK)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        h = (h ^ (h >> 33)) * factor & MASK
    return h ^ (h >> 33)


def need(condition, why):
    if not condition:
        raise Invalid(why)


def zero(sector, offset, size, name):
    need(not any(sector[offset : offset + size]), f"{name} is not zero")


def checked(sector, magic, uuid, offset):
    need(sector[:4] == magic, f"the magic is {sector[:4]!r}, not {magic!r}")
    crc = zlib.crc32(uuid + struct.pack("<Q", offset // SECTOR) + sector[:4] + sector[8:])
    need(number(sector, 4, 4) == crc, "the checksum does not fit")


class Superblock:
    def __init__(self, sector, offset):
        checked(sector, b"LdSB", bytes(16), offset)
        need(sector[8:18] == b"larder\n\0\1\0", "another text or major version")
        need(sector[21:25] == bytes([16, 26, 1, 1]), "a fixed field has another value")
        if number(sector, 18, 2) == 0:
            zero(sector, 25, 7, "reserved_a")
            zero(sector, 112, 400, "reserved_b")
        self.uuid = sector[32:48]
        need(any(self.uuid), "the uuid is zero")
        self.sequence = number(sector, 48, 8)
        need(self.sequence < 2**63, "the sequence is too high")
        need(number(sector, 72, 8) == 0, "an unknown incompatible feature")
        self.segments_log2 = sector[20]
        need(self.segments_log2 <= 6, "too many segments")
        self.segments = 1 << self.segments_log2
        self.counts = [number(sector, at, 4) for at in (80, 84, 88)]
        possible = (8 <= count <= 2**30 and count % (8 * self.segments) == 0 for count in self.counts)
        need(all(possible), "an impossible count")
        self.per = [count // self.segments for count in self.counts]
        self.segment_len = sum(self.per) * SECTOR
        self.backup = 65536 + self.segments * self.segment_len
        self.index_len = self.backup + 4096

    def offset(self, table, n):
        """Of record n of table 0 (slots), 1 (blob records) or 2 (heap cells)."""
        segment, place = divmod(n, self.per[table])
        before = sum(self.per[:table]) * SECTOR
        return 65536 + segment * self.segment_len + before + place * SECTOR

    def segment_of(self, hash64):
        return hash64 >> (64 - self.segments_log2) if self.segments_log2 else 0


class Session:
    def __init__(self, sector, uuid, copy):
        checked(sector, b"LdSE", uuid, 8192 + 4096 * copy)
        self.sequence, self.epoch = number(sector, 16, 8), number(sector, 24, 8)
        need(sector[8] in (1, 2), "no such state")
        need(self.sequence & 1 == copy and self.sequence < 2**63, "not this copy's sequence")
        need(number(sector, 32, 8) <= self.epoch < 2**24, "an impossible epoch")
        zero(sector, 9, 7, "reserved_a")
        zero(sector, 92, 420, "reserved_b")


class Header:
    def __init__(self, sector, uuid, segment):
        checked(sector, b"LdSG", uuid, 16384 + SECTOR * segment)
        need(number(sector, 8, 4) == segment, "another segment's header")
        zero(sector, 40, 472, "reserved")
        self.stamp = number(sector, 32, 8)


class Slot:
    def __init__(self, sector, uuid, offset):
        checked(sector, b"LdSL", uuid, offset)
        self.kind, log2 = sector[8], sector[9]
        need(self.kind <= 3, "no such kind")
        need(16 <= log2 <= 26, "no such chunk size")
        need(number(sector, 10, 2) == 0, "another device")
        need(number(sector, 12, 4) < 128, "an unknown flag")
        zero(sector, 76, 180, "reserved")
        self.log2, self.stamp, self.tag = log2, number(sector, 16, 8), sector[24:40]
        self.chunk_no, self.present = number(sector, 40, 8), number(sector, 48, 8)
        self.valid_len, self.hint = number(sector, 56, 4), number(sector, 60, 4)
        need(self.valid_len <= 1 << log2, "longer than its chunk")
        need(self.chunk_no <= MASK >> log2, "the chunk begins behind the last byte that there can be")
        self.block_size = max(1 << log2 >> 6, 4096)
        blocks = -(-self.valid_len // self.block_size)
        need(self.present >> blocks == 0, "a block behind valid_len is present")
        self.crcs = struct.unpack("<64I", sector[256:512])
        absent = (crc for n, crc in enumerate(self.crcs) if not self.present >> n & 1)
        need(not any(absent), "an absent block has a checksum")
        need(self.kind != 0 or not any(self.tag) and self.valid_len == 0, "a free slot has a tag or a length")

    def blocks(self):
        """Number, begin and length of every present block."""
        for n in range(64):
            if self.present >> n & 1:
                begin = n * self.block_size
                yield n, begin, min(self.block_size, self.valid_len - begin)

    def block_crc(self, n, data):
        head = self.tag + struct.pack("<QII", self.chunk_no, n, len(data))
        return zlib.crc32(data, zlib.crc32(head))


class Blob:
    VALIDATOR_LENS = {1: 9, 2: 41, 3: 21}

    def __init__(self, sector, uuid, offset):
        checked(sector, b"LdBL", uuid, offset)
        self.kind, self.log2, validator_class = sector[8], sector[9], sector[10]
        need(self.kind <= 4, "no such kind")
        need(16 <= self.log2 <= 26, "no such chunk size")
        need(validator_class <= 6, "no such class of validators")
        for at, size in ((11, 1), (12, 4), (138, 6), (152, 8), (164, 2), (168, 24)):
            zero(sector, at, size, f"the reserved field at {at}")
        self.stamp, self.key, self.tag = number(sector, 16, 8), sector[24:40], sector[40:56]
        self.size = number(sector, 56, 8)
        need(all(number(sector, at, 4) < 10**9 for at in (88, 92)), "a second has no so many nanoseconds")
        pack = any(sector[136:138]) or any(sector[144:152])
        need(not pack or number(sector, 132, 4) != 0, "a pack without a slot")
        at, parts = 192, []
        for length in (number(sector, at, 2) for at in (160, 162, 164, 166)):
            parts.append(sector[at : at + length])
            at += length
        need(at <= SECTOR and not any(sector[at:]), "the inline parts do not fit, or are followed by something")
        self.name, validator, _, self.link = parts
        if validator:
            need(validator[0] == validator_class, "the validator is of another class")
            length = self.VALIDATOR_LENS.get(validator_class, len(validator))
            need(len(validator) == length, "the validator has another length than its fields")
        well_formed = {4: validator[9:], 5: validator[1:], 6: validator[1:]}.get(validator_class, b"")
        quoted = len(well_formed) > 1 and well_formed[:1] == b'"' == well_formed[-1:]
        need(not quoted or b'"' in well_formed[1:-1], "an ETag is kept with its quotes")


class Cell:
    def __init__(self, sector, uuid, offset):
        checked(sector, b"LdHC", uuid, offset)
        self.stamp, length = number(sector, 16, 8), number(sector, 10, 2)
        need(1 <= sector[8] <= 4, "no such kind")
        need(length <= 472 and not any(sector[40 + length :]), "something follows the payload")


class Cache:
    def __init__(self, path):
        self.path, self.complaints = path, []
        with open(os.path.join(path, "index.larder"), "rb") as file:
            self.index = file.read()
        self.superblock = self.read_superblocks()
        self.uuid = self.superblock.uuid
        if len(self.index) != self.superblock.index_len:
            self.complain("index", f"{len(self.index)} bytes instead of {self.superblock.index_len}")
        self.sessions = self.read("session", range(2), lambda n: 8192 + 4096 * n, Session, by_number=True)
        segments = range(self.superblock.segments)
        self.headers = self.read("header", segments, lambda n: 16384 + SECTOR * n, Header, by_number=True)
        self.slots = self.read_table("slot", 0, Slot)
        self.blobs = self.read_table("blob record", 1, Blob)
        self.cells = self.read_table("heap cell", 2, Cell)
        self.check_epochs()
        self.check_blobs()
        self.present_blocks, self.present_bytes = self.check_slots()

    def complain(self, where, why):
        self.complaints.append(f"{where}: {why}")

    def sector(self, offset):
        return self.index[offset : offset + SECTOR].ljust(SECTOR, b"\0")

    def read_superblocks(self):
        found = []
        for n, offset in enumerate((0, 4096, len(self.index) - 4096)):
            try:
                superblock = Superblock(self.sector(offset), offset)
                need(superblock.backup == offset if n == 2 else superblock.sequence & 1 == n, "misplaced")
                found.append((n, superblock))
            except Invalid as why:
                self.complain(f"superblock {n}", why)
        if not found:
            sys.exit("no superblock is valid: nothing can be proven")
        copies = [superblock for n, superblock in found if n < 2] or [found[0][1]]
        chosen = max(copies, key=lambda superblock: superblock.sequence)
        for n, other in found:
            if (other.uuid, other.counts) != (chosen.uuid, chosen.counts):
                self.complain(f"superblock {n}", "of another cache or geometry")
        return chosen

    def read(self, name, numbers, place, record, by_number=False):
        """The valid records of one type by their numbers."""
        found = {}
        for n in numbers:
            sector = self.sector(place(n))
            if not any(sector):
                continue
            try:
                found[n] = record(sector, self.uuid, n if by_number else place(n))
            except Invalid as why:
                self.complain(f"{name} {n}", why)
        return found

    def read_table(self, name, t, record):
        return self.read(name, range(self.superblock.counts[t]), lambda n: self.superblock.offset(t, n), record)

    def check_epochs(self):
        tables = (self.headers, self.slots, self.blobs, self.cells)
        newest = max((record.stamp >> 40 for table in tables for record in table.values()), default=0)
        last = max(self.sessions.values(), key=lambda session: session.sequence, default=None)
        if newest > (last.epoch if last else 0):
            self.complain("session", f"a stamp has epoch {newest}")

    def check_blobs(self):
        keys = set()
        for n, blob in self.used(self.blobs):
            if self.superblock.segment_of(number(blob.key, 0, 8)) != n // self.superblock.per[1]:
                self.complain(f"blob record {n}", "in the wrong segment")
            if blob.key in keys:
                self.complain(f"blob record {n}", "a twin")
            keys.add(blob.key)

    def check_slots(self):
        """The number of present blocks and of their bytes."""
        sizes = {blob.tag: blob for _, blob in self.used(self.blobs) if blob.kind == 1}
        chunks, blocks, size = set(), 0, 0
        for n, slot in self.used(self.slots):
            if slot.kind != 1:
                continue
            if self.superblock.segment_of(slot_hash(slot.tag, slot.chunk_no)) != n // self.superblock.per[0]:
                self.complain(f"slot {n}", "in the wrong segment")
            if (slot.tag, slot.chunk_no) in chunks:
                self.complain(f"slot {n}", "a twin")
            chunks.add((slot.tag, slot.chunk_no))
            blob = sizes.get(slot.tag)
            left = min(max(blob.size - (slot.chunk_no << blob.log2), 0), 1 << blob.log2) if blob else 0
            if blob and (slot.log2, slot.valid_len) != (blob.log2, left):
                self.complain(f"slot {n}", "not a chunk of its blob")
            data = self.chunk_file(n)
            for k, begin, length in slot.blocks():
                block = data[begin : begin + length]
                if len(block) < length or slot.block_crc(k, block) != slot.crcs[k]:
                    self.complain(f"slot {n}", f"block {k} does not fit its checksum")
                blocks, size = blocks + 1, size + length
        return blocks, size

    def used(self, table):
        return [(n, record) for n, record in table.items() if record.kind != 0]

    def chunk_file(self, n):
        segment, place = divmod(n, self.superblock.per[0])
        path = os.path.join(self.path, f"chunks/{segment:02x}/{place // 1024:04x}/{n:08x}")
        if not os.path.exists(path):
            return b""
        with open(path, "rb") as file:
            return file.read()

    def told(self):
        return {
            "slots": len(self.used(self.slots)),
            "blobs": len(self.used(self.blobs)),
            "cells": len(self.cells),
            "present_blocks": self.present_blocks,
            "present_bytes": self.present_bytes,
            "complaints": self.complaints,
        }


if __name__ == "__main__":
    told = Cache(sys.argv[1]).told()
    print(json.dumps(told))
    sys.exit(1 if told["complaints"] else 0)
