"""What the notebooks share: data, augmentation, layers, models, training, receptive field, plots, results."""
