"""The tables of published data sets, shared by the readers and by the tfds builders."""
