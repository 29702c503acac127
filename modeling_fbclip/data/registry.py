"""The seventeen data sets of the paper: what they hold, how they are laid out, where they come from."""

import re
from collections.abc import Collection
from typing import NamedTuple

UNKNOWN = "unknown"
NON_COMMERCIAL = "CC BY-NC-SA 4.0"
RESEARCH = "research and education only"
NUMBERED = re.compile(r"(class|category|cat|type|part|item|object|product)?[ _-]?\d+", re.IGNORECASE)
KAGGLE = "https://www.kaggle.com/datasets/"


class KnownDataset(NamedTuple):
    """
    A public data set.

    Args:
        name: short name.
        title: the name that papers use.
        domain: `"industrial"` or `"medical"`.
        layout: the name of the layout of the download.
        categories: what the images show; the folders' names where there are several.
        has_masks: whether anomalous pixels are marked. Without masks, images have a label only.
        source: where to download it.
        licence: as its authors state it, `"unknown"` if they state none.
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


def _industrial(
    name: str, title: str, layout: str, categories: tuple[str, ...], source: str, licence: str = UNKNOWN
) -> KnownDataset:
    return KnownDataset(name, title, "industrial", layout, categories, True, source, licence)


def _brain(name: str, title: str, layout: str, source: str) -> KnownDataset:
    """Scans of a brain, with image labels only."""
    return KnownDataset(name, title, "medical", layout, ("brain",), False, source, UNKNOWN)


def _organ(name: str, title: str, organ: str, source: str, licence: str = UNKNOWN) -> KnownDataset:
    """Images of an organ, each with a mask."""
    return KnownDataset(name, title, "medical", "image-mask", (organ,), True, source, licence)


MVTEC_AD_CATEGORIES = _names(
    "bottle cable capsule carpet grid hazelnut leather metal_nut pill screw tile toothbrush transistor wood zipper"
)
VISA_CATEGORIES = _names("candle capsules cashew chewinggum fryum macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 pipe_fryum")
MPDD_CATEGORIES = _names("bracket_black bracket_brown bracket_white connector metal_plate tubes")
DAGM_CATEGORIES = tuple(f"Class{number}" for number in range(1, 11))
DTD_SYNTHETIC_CATEGORIES = _names(
    "Blotchy_099 Fibrous_183 Marbled_078 Matted_069 Mesh_114 Perforated_037 Stratified_154 Woven_001 Woven_068 "
    "Woven_104 Woven_125 Woven_127"
)
REAL_IAD_CATEGORIES = _names(
    "audiojack bottle_cap button_battery end_cap eraser fire_hood mint mounts pcb phone_battery plastic_nut "
    "plastic_plug porcelain_doll regulator rolled_strip_base sim_card_set switch tape terminalblock toothbrush toy "
    "toy_brick transistor1 u_block usb usb_adaptor vcpill wooden_beads woodstick zipper"
)

DATASETS = [
    _industrial(
        "mvtec-ad",
        "MVTec AD",
        "mvtec",
        MVTEC_AD_CATEGORIES,
        "https://www.mvtec.com/research-teaching/datasets/mvtec-ad",
        NON_COMMERCIAL,
    ),
    _industrial("visa", "VisA", "visa", VISA_CATEGORIES, "https://github.com/amazon-science/spot-diff", "CC BY 4.0"),
    _industrial("mpdd", "MPDD", "mvtec", MPDD_CATEGORIES, "https://github.com/stepanje/MPDD"),
    _industrial("btad", "BTAD", "mvtec", _names("01 02 03"), "http://avires.dimi.uniud.it/papers/btad/btad.zip"),
    _industrial(
        "sdd",
        "KolektorSDD",
        "kolektor",
        ("electrical commutators",),
        "https://www.vicos.si/resources/kolektorsdd/",
        NON_COMMERCIAL,
    ),
    _industrial(
        "dagm",
        "DAGM 2007",
        "dagm",
        DAGM_CATEGORIES,
        KAGGLE + "mhskjelvareid/dagm-2007-competition-dataset-optical-inspection",
    ),
    _industrial(
        "dtd-synthetic",
        "DTD-Synthetic",
        "mvtec",
        DTD_SYNTHETIC_CATEGORIES,
        "https://drive.google.com/drive/folders/10OyPzvI3H6llCZBxKxFlKWt1Pw1tkMK1",
    ),
    _industrial(
        "real-iad",
        "Real-IAD",
        "real-iad",
        REAL_IAD_CATEGORIES,
        "https://huggingface.co/datasets/Real-IAD/Real-IAD",
        NON_COMMERCIAL,
    ),
    _brain("headct", "HeadCT", "head-ct", KAGGLE + "felipekitamura/head-ct-hemorrhage"),
    _brain("brainmri", "BrainMRI", "yes-no", KAGGLE + "navoneel/brain-mri-images-for-brain-tumor-detection"),
    _brain("br35h", "Br35H", "yes-no", KAGGLE + "ahmedhamada0/brain-tumor-detection"),
    _organ("isic", "ISIC 2016", "skin", "https://challenge.isic-archive.com/data/#2016", "CC0 1.0"),
    _organ("colondb", "CVC-ColonDB", "colon", "http://vi.cvc.uab.es/colon-qa/cvccolondb/"),
    _organ("clinicdb", "CVC-ClinicDB", "colon", "https://polyp.grand-challenge.org/CVCClinicDB/"),
    _organ("kvasir", "Kvasir-SEG", "colon", "https://datasets.simula.no/kvasir-seg/", RESEARCH),
    _organ("endotect", "EndoTect 2020", "colon", "https://endotect.com/"),
    _organ("tn3k", "TN3K", "thyroid", "https://github.com/haifangong/TRFE-Net-for-thyroid-nodule-segmentation"),
]
KNOWN_DATASETS: dict[str, KnownDataset] = {dataset.name: dataset for dataset in DATASETS}


class Identity(NamedTuple):
    """
    The registered data set whose categories another one has.

    Args:
        known: the registered one.
        is_certain: whether there is no other name, and the names can only be its own: numbers, alone or after a word
            such as class, are anybody's.
    """

    known: KnownDataset
    is_certain: bool

    @property
    def title(self) -> str:
        """What it may be called."""
        return self.known.title if self.is_certain else f"like {self.known.title}"


def identify(categories: Collection[str]) -> Identity | None:
    """The data set that has at least half of its categories among these; `None` if there is none."""

    def share(dataset: KnownDataset) -> float:
        return len(set(dataset.categories).intersection(categories)) / len(dataset.categories)

    # A single category, such as brain, is common to several data sets.
    best = max((known for known in DATASETS if len(known.categories) > 1), key=share)
    if share(best) < 0.5:
        return None
    are_its_own = set(categories) <= set(best.categories)
    return Identity(best, are_its_own and not all(NUMBERED.fullmatch(name) for name in best.categories))
