"""What depends on a trained model: the bundle, the models in it, calibration, the decision."""
