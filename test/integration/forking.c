/* forking - a process and its child with one labeled socket. */
#include "forking.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

const char forking_config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = background\n"
                              "[network cell]\naddress = 127.0.2.1\nlabels = ondemand\n";
const char forking_world[] = "[network wifi]\nmatch = wifi0\nlabels = background\n"
                             "[network cell]\nmatch = cell0\nlabels = background, ondemand\n";

struct forking *forking_both;
pid_t forking_parent;

void forking_share(void) {
    forking_parent = getpid();
    forking_both = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    stage_expect(forking_both != MAP_FAILED);
}

int forking_connected(unsigned long labels) {
    struct sockaddr_in to = stage_tcp();
    int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_expect(sock >= 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, labels, NULL, NULL, NULL), 0);
    return sock;
}

int forking_ended(pid_t child) {
    int status = -1;
    stage_expect(child > 0);
    stage_wait(waitpid(child, &status, WNOHANG) == child);
    return status;
}

void forking_step(int wanted) {
    stage_wait(forking_both->step >= wanted);
}
