"""What a person sees: JupyterLab in Chromium, real kernels, real clicks.

``server`` starts JupyterLab with kernels of several ipykernels, ``lab`` is the page that a person
has before them: ``Lab`` opens notebooks, ``Notebook`` runs and reads them.
"""
