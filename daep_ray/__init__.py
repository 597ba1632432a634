"""daep_ray: what is a learned representation of survey objects worth?"""
