/* program - something for cmm-run to run. With GO it carries the mark of Go's linker. */
#include <stdlib.h>

#ifdef GO
__asm__(".pushsection .note.go.buildid,\"a\",%note\n"
        ".p2align 2\n"
        ".long 4, 4, 4\n"
        ".asciz \"Go\\0\"\n"
        ".long 1\n"
        ".popsection\n");
#endif

int main(int argc, char **argv) {
    return argc > 1 ? atoi(argv[1]) : 0;
}
