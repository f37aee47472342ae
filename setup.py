"""jittor-ovseg: training-free open-vocabulary segmentation on Jittor, PyTorch and NumPy."""

from pathlib import Path

from setuptools import find_packages, setup

ON_X86_LINUX = "platform_system == 'Linux' and platform_machine == 'x86_64'"

setup(
    name="jittor-ovseg",
    version="0.1.0",
    description="Training-free open-vocabulary segmentation on Jittor, with a framework-neutral core",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.13",  # Jittor 1.3.11 and numpy 1.26 have nothing for 3.13
    packages=find_packages(include=["core", "core.*", "jt_backend", "jt_backend.*", "torch_backend", "torch_backend.*"]),
    package_data={"torch_backend": ["embedded/*"], "core.evaluation.published": ["class_names/*.txt"]},
    install_requires=[
        "numpy>=1.26,<2",  # Jittor is built against NumPy 1's C structures; NumPy 2 crashes or corrupts it
        "jittor>=1.3.11,<1.4",  # the release whose start-up jt_backend.start.runtime knows
        "torch>=2.4",  # the CLIP backbone; weights_only loading that refuses what it does not know
        "open_clip_torch>=3.0",  # the CLIP models; 3.0 keeps apart the activation of a name and of its weights
        "timm>=1.0.20",  # open_clip's own need; ProxyCLIP's and FSA's external models, DINOv3 among them
        "huggingface_hub>=0.23",  # open_clip's own need; asked whether the hub can be reached
        "safetensors>=0.4",  # the embedded model's weights
        "pillow>=10.1",  # legends in its own font at any size, has_transparency_data
        "tqdm>=4.60",  # progress on a terminal
        f"onednn-cpu-gomp==2021.2.0; {ON_X86_LINUX}",  # oneDNN 2.2, the one Jittor links; else its matmul is 15 times slower
        f"onednn-devel-cpu-gomp==2021.2.0; {ON_X86_LINUX}",  # its headers
    ],
    extras_require={
        "plots": ["matplotlib>=3.8"],  # scripts/benchmark.py --growth
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.5",  # tests side by side
            "hypothesis>=6.100",  # laws, tried on many inputs
            "scikit-learn>=1.3",  # a witness for local outlier factors
            "ruff>=0.6",
            "import-linter>=2.10",  # the direction of imports
            "matplotlib>=3.8",
        ],
    },
)
