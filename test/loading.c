/* loading - a library that has its program do something while it is being loaded. */
extern void while_loading(void);
#pragma weak while_loading

__attribute__((constructor)) static void begin(void) {
    if (while_loading)
        while_loading();
}
