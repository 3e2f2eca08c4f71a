# Everything in one go, which lets mdfr inflate on all cores, then channel by channel to float64.
import json, sys, time
import mdfr
import numpy

begin = time.perf_counter()
file = mdfr.Mdfr(sys.argv[1])
file.load_all_channels_data_in_memory()
channels, samples, check = 0, 0, 0.0
for name in file.get_channel_names_set():
    values = file.get_channel_data(name)
    if not isinstance(values, numpy.ndarray) or values.ndim != 1 or values.dtype.kind not in "iuf":
        continue
    values = values.astype(numpy.float64, copy=False)
    channels, samples, check = channels + 1, samples + values.size, check + float(values.sum())
print(json.dumps({"channels": channels, "samples": samples, "check": check, "inner_s": time.perf_counter() - begin}))
