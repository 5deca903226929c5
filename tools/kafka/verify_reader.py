#!/usr/bin/env python3
"""verify_reader.py BROKERS TOPIC [options]: judge a topic from outside.

Reads the whole topic with kcat, which shares no code with Weir.

Without --sequences it prints every record as one JSON object per line (partition, offset, key,
payload). With --sequences each payload is JSON with a key field and a sequence field that counts
that key's records from 1; the verdict is how many are lost (gaps), repeated, or out of order.

A transaction that was left open is a failure too: it hides everything behind it from every
read-committed reader. It shows as a read-committed end before the read-uncommitted one.

Exit code 0: as it should be. 1: it is not. 2: the topic could not be read.
"""
import argparse
import collections
import json
import re
import subprocess
import sys


def read(brokers, topic, isolation, timeout, form=("-J",)):
    """All records up to the present end, and the end offset of each partition."""
    command = ["kcat", "-b", brokers, "-C", "-t", topic, "-o", "beginning", "-e", *form, "-u",
               "-X", "isolation.level=" + isolation, "-X", "check.crcs=true"]
    try:
        run = subprocess.run(command, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        # kcat ends once it has stood at every partition's end: a topic that grows as fast as it is
        # read has none.
        print("verify_reader: no end of %s within %g s; if a job still writes into it, stop the job "
              "first, otherwise give it longer with --timeout" % (topic, timeout), file=sys.stderr)
        sys.exit(2)
    errors = run.stderr.decode(errors="replace")
    if run.returncode != 0:
        print("verify_reader: cannot read %s: %s" % (topic, errors.strip()), file=sys.stderr)
        sys.exit(2)
    ends = {int(p): int(o) for p, o in re.findall(r"\[(\d+)\] at offset (\d+)", errors)}
    return [json.loads(line) for line in run.stdout.splitlines()], ends


def check_sequences(payloads, key_field, sequence_field, expected_last):
    """Counts what is lost, repeated and out of order; records are in order per partition."""
    seen = collections.defaultdict(set)
    last = collections.defaultdict(int)
    repeated = disordered = 0
    for payload in payloads:
        key, sequence = payload[key_field], int(payload[sequence_field])
        if sequence in seen[key]:
            repeated += 1
        elif sequence < last[key]:
            disordered += 1
        seen[key].add(sequence)
        last[key] = max(last[key], sequence)
    lost = sum((expected_last or last[key]) - len(sequences) for key, sequences in seen.items())
    return {"records": len(payloads), "keys": len(seen), "lost": lost, "repeated": repeated,
            "out_of_order": disordered}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("brokers")
    parser.add_argument("topic")
    parser.add_argument("--isolation", default="read_committed",
                        choices=["read_committed", "read_uncommitted"])
    parser.add_argument("--sequences", action="store_true")
    parser.add_argument("--key-field", default="key")
    parser.add_argument("--sequence-field", action="append",
                        help="default seq; given more than once, there is a verdict on each")
    parser.add_argument("--keys", type=int, help="how many keys there must be")
    parser.add_argument("--last", type=int, help="the sequence number each key must reach")
    parser.add_argument("--timeout", type=float, default=120)
    options = parser.parse_args()

    records, ends = read(options.brokers, options.topic, options.isolation, options.timeout)
    if not options.sequences:
        for record in records:
            print(json.dumps({name: record.get(name)
                              for name in ("partition", "offset", "key", "payload")}))
        return 0

    # Of the other reading the ends alone count: nothing of the records is printed.
    _, all_ends = read(options.brokers, options.topic, "read_uncommitted", options.timeout,
                       form=("-f", ""))
    open_ones = sorted(p for p, end in all_ends.items() if ends.get(p, end) < end)
    payloads = [json.loads(record["payload"]) for record in records]
    all_ok = True
    for field in options.sequence_field or ["seq"]:
        verdict = check_sequences(payloads, options.key_field, field, options.last)
        verdict["open_transactions_in_partitions"] = open_ones
        verdict["ok"] = (verdict["lost"] == verdict["repeated"] == verdict["out_of_order"] == 0
                         and not open_ones and options.keys in (None, verdict["keys"]))
        print(json.dumps(verdict))
        all_ok = all_ok and verdict["ok"]
    return 0 if all_ok else 1


if __name__ == "__main__":
    sys.exit(main())
