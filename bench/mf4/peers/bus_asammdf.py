# All signals of the bus by extract_bus_logging, as physical float64.
import json, sys, time
import numpy
from asammdf import MDF

begin = time.perf_counter()
file = MDF(sys.argv[1]).extract_bus_logging({"CAN": [(sys.argv[2], 0)]})
channels, samples, check = 0, 0, 0.0
for index, group in enumerate(file.groups):
    wanted = [(None, index, k) for k in range(1, len(group.channels))]
    for signal in file.select(wanted, copy_master=False, raw=False):
        values = signal.samples
        if values.ndim != 1 or values.dtype.kind not in "iuf" or "." in signal.name:
            continue
        values = values.astype(numpy.float64, copy=False)
        channels, samples, check = channels + 1, samples + values.size, check + float(values.sum())
print(json.dumps({"channels": channels, "samples": samples, "check": check, "inner_s": time.perf_counter() - begin}))
