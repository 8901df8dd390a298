"""The story of 01_first_upload.ipynb on a terminal: upload images, look at the report, search.

    python notebooks/first_upload.py [con]

`con` is a folder or a server's URL, as in `qframe.upload`; the folder ./qdrant_data by default.
"""

import sys

import pandas as pd
from sklearn.datasets import load_digits

import qframe

con = sys.argv[1] if len(sys.argv) > 1 else "qdrant_data"

digits = load_digits()
frame = pd.DataFrame(
    {
        "image": range(len(digits.data)),  # a number that stays the same, so ids do
        "digit": digits.target,
        "pixels": list(digits.data),
    }
)

report = frame.qdrant.upload(
    "digits", con, vectors="pixels", ids="image", distance="euclid", wait=True
)
print(report[["batch", "start", "stop", "points", "status", "attempts", "bytes"]].to_string())
summary = report.attrs["upload"]
print(f"{summary['points']['applied']:,} of {summary['rows']:,} rows applied")


def nearest(image):
    """Return the five images that look most like this one, the nearest first."""
    found = qframe.search("digits", frame["pixels"][image], con, limit=6)
    return found.drop(index=image)


print(f"\nnearest to image 0, a {frame['digit'][0]}:")
print(nearest(0).to_string())

sample = frame.index[::36]
same = sum((nearest(image)["digit"] == frame["digit"][image]).sum() for image in sample)
print(
    f"\n{same} of the {5 * len(sample)} images nearest to {len(sample)} others are the same digit"
)
