#include "plugin/command_line.h"

int main(int argc, char** argv) { return rw::RunCommandLine(argc, argv); }
