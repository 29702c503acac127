"""The seventeen data sets of the paper: what they hold, how they are laid out, where they come from."""

from collections.abc import Collection
from typing import NamedTuple

UNKNOWN = "unknown"
NON_COMMERCIAL = "CC BY-NC-SA 4.0"
KAGGLE = "https://www.kaggle.com/datasets/"


class KnownDataset(NamedTuple):
    """
    A public data set.

    Args:
        name: short name.
        title: the name that papers use.
        domain: `"industrial"` or `"medical"`.
        layout: how the download is laid out, by its name in `layouts`.
        categories: what it shows; the folders' names where there are several.
        has_masks: whether anomalous pixels are marked, or images have a label only.
        source: where people get it.
        licence: as its authors state it, `"unknown"` where no statement of theirs is known.
    """

    name: str
    title: str
    domain: str
    layout: str
    categories: tuple[str, ...]
    has_masks: bool
    source: str
    licence: str


def _names(names: str) -> tuple[str, ...]:
    return tuple(names.split())


MVTEC_AD_CATEGORIES = _names(
    "bottle cable capsule carpet grid hazelnut leather metal_nut pill screw tile toothbrush transistor wood zipper"
)
VISA_CATEGORIES = _names("candle capsules cashew chewinggum fryum macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 pipe_fryum")
DTD_SYNTHETIC_CATEGORIES = _names(
    "Blotchy_099 Fibrous_183 Marbled_078 Matted_069 Mesh_114 Perforated_037 Stratified_154 Woven_001 Woven_068 "
    "Woven_104 Woven_125 Woven_127"
)
REAL_IAD_CATEGORIES = _names(
    "audiojack bottle_cap button_battery end_cap eraser fire_hood mint mounts pcb phone_battery plastic_nut "
    "plastic_plug porcelain_doll regulator rolled_strip_base sim_card_set switch tape terminalblock toothbrush toy "
    "toy_brick transistor1 u_block usb usb_adaptor vcpill wooden_beads woodstick zipper"
)

INDUSTRIAL = [
    KnownDataset(
        "mvtec-ad",
        "MVTec AD",
        "industrial",
        "mvtec",
        MVTEC_AD_CATEGORIES,
        True,
        "https://www.mvtec.com/research-teaching/datasets/mvtec-ad",
        NON_COMMERCIAL,
    ),
    KnownDataset(
        "visa",
        "VisA",
        "industrial",
        "visa",
        VISA_CATEGORIES,
        True,
        "https://github.com/amazon-science/spot-diff",
        "CC BY 4.0",
    ),
    KnownDataset(
        "mpdd",
        "MPDD",
        "industrial",
        "mvtec",
        _names("bracket_black bracket_brown bracket_white connector metal_plate tubes"),
        True,
        "https://github.com/stepanje/MPDD",
        UNKNOWN,
    ),
    KnownDataset(
        "btad",
        "BTAD",
        "industrial",
        "mvtec",
        _names("01 02 03"),
        True,
        "http://avires.dimi.uniud.it/papers/btad/btad.zip",
        UNKNOWN,
    ),
    KnownDataset(
        "sdd",
        "KolektorSDD",
        "industrial",
        "kolektor",
        ("electrical commutators",),
        True,
        "https://www.vicos.si/resources/kolektorsdd/",
        NON_COMMERCIAL,
    ),
    KnownDataset(
        "dagm",
        "DAGM 2007",
        "industrial",
        "dagm",
        tuple(f"Class{number}" for number in range(1, 11)),
        True,
        KAGGLE + "mhskjelvareid/dagm-2007-competition-dataset-optical-inspection",
        UNKNOWN,
    ),
    KnownDataset(
        "dtd-synthetic",
        "DTD-Synthetic",
        "industrial",
        "mvtec",
        DTD_SYNTHETIC_CATEGORIES,
        True,
        "https://drive.google.com/drive/folders/10OyPzvI3H6llCZBxKxFlKWt1Pw1tkMK1",
        UNKNOWN,
    ),
    KnownDataset(
        "real-iad",
        "Real-IAD",
        "industrial",
        "real-iad",
        REAL_IAD_CATEGORIES,
        True,
        "https://huggingface.co/datasets/Real-IAD/Real-IAD",
        NON_COMMERCIAL,
    ),
]
RESEARCH = "research and education only"
MEDICAL = [
    KnownDataset(
        "headct",
        "HeadCT",
        "medical",
        "head-ct",
        ("brain",),
        False,
        KAGGLE + "felipekitamura/head-ct-hemorrhage",
        UNKNOWN,
    ),
    KnownDataset(
        "brainmri",
        "BrainMRI",
        "medical",
        "yes-no",
        ("brain",),
        False,
        KAGGLE + "navoneel/brain-mri-images-for-brain-tumor-detection",
        UNKNOWN,
    ),
    KnownDataset(
        "br35h",
        "Br35H",
        "medical",
        "yes-no",
        ("brain",),
        False,
        KAGGLE + "ahmedhamada0/brain-tumor-detection",
        UNKNOWN,
    ),
    KnownDataset(
        "isic",
        "ISIC 2016",
        "medical",
        "image-mask",
        ("skin",),
        True,
        "https://challenge.isic-archive.com/data/#2016",
        "CC0 1.0",
    ),
    KnownDataset(
        "colondb",
        "CVC-ColonDB",
        "medical",
        "image-mask",
        ("colon",),
        True,
        "http://vi.cvc.uab.es/colon-qa/cvccolondb/",
        UNKNOWN,
    ),
    KnownDataset(
        "clinicdb",
        "CVC-ClinicDB",
        "medical",
        "image-mask",
        ("colon",),
        True,
        "https://polyp.grand-challenge.org/CVCClinicDB/",
        UNKNOWN,
    ),
    KnownDataset(
        "kvasir",
        "Kvasir-SEG",
        "medical",
        "image-mask",
        ("colon",),
        True,
        "https://datasets.simula.no/kvasir-seg/",
        RESEARCH,
    ),
    KnownDataset(
        "endotect",
        "EndoTect 2020",
        "medical",
        "image-mask",
        ("colon",),
        True,
        "https://endotect.com/",
        UNKNOWN,
    ),
    KnownDataset(
        "tn3k",
        "TN3K",
        "medical",
        "image-mask",
        ("thyroid",),
        True,
        "https://github.com/haifangong/TRFE-Net-for-thyroid-nodule-segmentation",
        UNKNOWN,
    ),
]
KNOWN_DATASETS: dict[str, KnownDataset] = {dataset.name: dataset for dataset in INDUSTRIAL + MEDICAL}


def identify(categories: Collection[str]) -> KnownDataset | None:
    """The data set that has these categories, or at least half of its own among them; `None` if none has."""

    def share(dataset: KnownDataset) -> float:
        return len(set(dataset.categories).intersection(categories)) / len(dataset.categories)

    # One category, such as a brain, tells no data set from another.
    best = max((known for known in KNOWN_DATASETS.values() if len(known.categories) > 1), key=share)
    return best if share(best) >= 0.5 else None
