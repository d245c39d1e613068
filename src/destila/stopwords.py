"""Spanish words that say little of what a text is about, and that no answer begins or ends with."""

_WORDS = """
a al algo ante así aún aunque bajo cada como con contra cual cuando cuándo de del desde donde dónde durante e el
él ella ellas ellos en entonces entre era eran eres es esa esas ese eso esos esta está estaba estaban están estar
estas este esto estos fue fueron ha haber había habían hace hacer han hasta hay he hemos la las le les lo los más
me mi mis mismo mucho muy nada ni no nos nosotros nuestra nuestro o os otra otras otro otros para pero poco por
porque pues que qué quien quién se sea ser será si sí sido sin sobre solo sólo son su sus también tan tanto te
tener tengo ti tiene tienen toda todas todo todos tu un una unas uno unos usted ustedes va vamos y ya yo
cuál cuáles cuánto cuántos cómo éste ésta mientras además según
muchas gracias señor señora señores señorías bueno entonces aquí ahí allí ahora
"""
STOP_WORDS = tuple(_WORDS.split())
