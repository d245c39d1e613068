"""Lists of Spanish words, written for this project: see destila.data.synthetic.thesaurus."""
