#include "cli/cli.h"

int main(int argc, char** argv) {
  return ocicat::cli::run(argc, argv);
}
