/*
 * Getaddrinfo: asks the C library for the addresses of a name, as any program does.
 *
 *   getaddrinfo NAME [4|6]
 *
 * Prints one address a line, each once for each time it was told, and ends with 0; or prints what gai_strerror says
 * and ends with 1. Built by dns-musl.test.ts against musl, whose resolver is none of glibc's.
 *
 * Touches: DNS, through the C library.
 */

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
    struct addrinfo hints, *found, *each;
    char text[64];
    int error;

    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    if (argc > 2) hints.ai_family = argv[2][0] == '6' ? AF_INET6 : AF_INET;
    error = getaddrinfo(argc > 1 ? argv[1] : "", NULL, &hints, &found);
    if (error != 0) {
        printf("%s\n", gai_strerror(error));
        return 1;
    }
    for (each = found; each != NULL; each = each->ai_next) {
        error = getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
        printf("%s\n", error == 0 ? text : gai_strerror(error));
    }
    freeaddrinfo(found);
    return 0;
}
