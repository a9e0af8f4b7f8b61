/* What the demo's download is: a Windows program that shows one message and ends. It reads, writes and connects to
 * nothing. program.sh builds and packs it. */
#include <windows.h>

/* The program's entry: there is no C runtime around it. */
void __stdcall start(void)
{
    MessageBoxA(NULL,
                "This is a harmless test file of StreamDB.\n\nIt shows this message and does nothing else.",
                "StreamDB test file", MB_OK | MB_ICONINFORMATION);
    ExitProcess(0);
}
