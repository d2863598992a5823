"""What has to travel with a data set: attribution, card, Croissant."""
