"""Files beside a model's weights that tell how these came about, whatever the thresholds are."""

# {"image_digests": ["…", …], …}: what `fbclip train` writes; the digests name each image trained on.
TRAINING_RECORD = "training_record.json"
RECORDS = (TRAINING_RECORD, "recipe.json")
