/* nothing - a library that does nothing: what preloading costs whoever does it. */
void nothing(void);

void nothing(void) {}
