"""Networks: one module each; `fit` turns a training set into an ONNX graph that scores rows of features.

    fit(training, settings, generator, progress=None, checkpoint=None) -> Trained(graph, curve)

`training` is a `TrainingSet`, `settings` the `[model]` section, `generator` a NumPy generator that all randomness comes
from; `progress` is told the share done, from 0 to 1; `checkpoint` is a path where a training that takes long keeps how
far it has come, and takes it up again. The graph takes `rows`, float32[n, F], and gives `score`, float32[n] in [0, 1],
higher is more robotic; it holds the input scaling, the features' names and the network's name.
"""
