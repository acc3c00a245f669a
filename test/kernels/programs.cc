// Loads every program that ships into the running kernel, as an agent does, and prints what the verifier
// says: a line for each, `NAME INSTRUCTIONS`, or why it was refused. Fails where one is refused that this
// kernel has a place for.
#include <fmt/format.h>
#include <sys/utsname.h>

#include <cstdio>

#include "dataplane/ebpf/objects.h"
#include "kernel/bpf_abilities.h"

namespace ocicat {
namespace {

Result<void> load(kernel::bpf::Object& object) {
  TRY_VOID(object.load());
  for (const auto* program : object.programs()) {
    TRY(const auto fd, kernel::bpf::fd_of(program));
    TRY(const auto instructions, kernel::bpf::verified_instructions(fd.get()));
    fmt::print("{} {}\n", kernel::bpf::name_of(program), instructions);
  }
  return {};
}

Result<void> load_all() {
  TRY(const auto can, kernel::bpf::abilities());
  utsname kernel{};
  ::uname(&kernel);
  fmt::print("kernel {}: types {}, tcx {}, netfilter programs {}, rules that ask programs {}\n",
             kernel.release, can.types, can.tcx, can.netfilter, can.asking);
  TRY(auto objects, dataplane::ebpf::open_objects(can));
  for (auto& object : objects) TRY_VOID(load(object));
  return {};
}

}  // namespace
}  // namespace ocicat

int main() {
  const auto done = ocicat::load_all();
  if (!done) fmt::print("refused: {}\n", done.error().message);
  return done ? 0 : 1;
}
