"""Prints rows of configs/a2ats/run.sh as Markdown: for every topk and ranker the means over heads and texts."""
import json
import sys

FIELDS = ("bits_per_key", "density", "mass_recall", "topk_recall", "relative_mass", "score_nmse_own", "score_nmse")


def main(path):
    groups = {}
    with open(path) as lines:
        for row in map(json.loads, lines):
            if row["status"] != "ok":
                sys.exit(f"{path}: {row['ranker']}: {row['error']}")
            groups.setdefault(row["params"]["topk"], {}).setdefault(row["ranker"], []).append(row)
    for topk, rankers in sorted(groups.items()):
        print(f"topk {topk:g}, {len(next(iter(rankers.values())))} heads\n")
        print("| ranker | " + " | ".join(FIELDS) + " |")
        print("|---|" + "---:|" * len(FIELDS))
        for ranker, rows in rankers.items():
            cells = []
            for field in FIELDS:
                values = [row[field] for row in rows if field in row]
                cells.append(f"{sum(values) / len(values):.4g}" if values else "")
            print(f"| {ranker} | " + " | ".join(cells) + " |")
        print()


if __name__ == "__main__":
    main(sys.argv[1])
