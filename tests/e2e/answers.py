"""What the jobs of tests must give, worked out in Python from what their sources give."""

import collections


def windows(count):
    """Lines of windows_job of the rows below `count`, all windows fired."""
    tumbling = collections.defaultdict(lambda: [0, 0])
    sliding, everything = collections.Counter(), collections.Counter()
    for i in range(count):
        key, at = i % 50, i + i * 7919 % 41 - 20
        end = at // 1000 * 1000 + 1000
        tumbling[key, end][0] += 1
        tumbling[key, end][1] += i
        everything[end] += 1
        first = at // 500 * 500 + 500
        for end in range(first, first + 3000, 500):
            sliding[key, end] += 1
    return collections.Counter(
        [f"tumbling {k} {end} {n} {total}" for (k, end), (n, total) in tumbling.items()] +
        [f"sliding {k} {end} {n}" for (k, end), n in sliding.items()] +
        [f"all {end} {n}" for end, n in everything.items()])


def routes(evens, odds):
    """Lines of routes_job of so many rows of either source."""
    sums, thirds = collections.Counter(), []
    for value in [*range(0, 2 * evens, 2), *range(1, 2 * odds, 2)]:
        if value % 3 == 0:
            thirds.append(f"third {value}")
        else:
            sums[value % 11, value // 2 // 1000 * 1000 + 1000] += value
    return collections.Counter(
        thirds + [f"second {k} {end} {n} {n}" for (k, end), n in sums.items()])


def totals(lines, count):
    """Every count of every key once, and the totals that the last ones carry."""
    finals, seen = {}, collections.Counter()
    for line in lines:
        kind, key, n, *rest = line.split()
        seen[kind, key, int(n)] += 1
        if int(n) == count // 100:
            finals[kind, key] = [int(word) for word in rest]
    return seen, finals


def expected_totals(count):
    values = {f"k{k}": range(k, count, 100) for k in range(100)}
    seen = collections.Counter((kind, key, n + 1) for kind in ("agg", "own") for key in values
                               for n in range(count // 100))
    finals = {("agg", key): [sum(v)] for key, v in values.items()}
    for key, v in values.items():
        finals["own", key] = [sum(v), len({i // 7 % 5 for i in v}),
                              sum(i // 7 % 4 == 0 for i in v)]
    return seen, finals
