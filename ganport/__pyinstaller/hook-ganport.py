"""PyInstaller's hook for `import ganport`: the modules and the pretrained generators that sampling needs."""

from PyInstaller.utils.hooks import collect_data_files

# `ganport.Sampler` and the other names of the runtime are imported when they are first used.
hiddenimports = ["ganport.runtime"]
# The pretrained generators and the reports about their quality.
datas = collect_data_files("ganport.runtime", includes=["models/*"])
# PyInstaller would follow the imports for type checkers in ganport/__init__.py to TensorFlow.
excludedimports = ["ganport.datasets", "ganport.evaluation", "ganport.export", "ganport.trainer"]
