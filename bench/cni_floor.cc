// What the kernel's part of ADD and DEL costs on its own: a program that is started for each container, as
// the plugin is, and makes the pair of interfaces, addresses and routes, and nothing else.
//
//   cni_floor add|del HOST_NAMESPACE CONTAINER_NAMESPACE INTERFACE ADDRESS
#include <fcntl.h>
#include <sched.h>

#include <cstdio>
#include <string_view>

#include "base/unique_fd.h"
#include "kernel/workload_links.h"

namespace {

ocicat::Result<void> run(std::string_view command, const char* host, const char* container, const char* name,
                         std::string_view address) {
  using namespace ocicat;
  const UniqueFd host_namespace(::open(host, O_RDONLY | O_CLOEXEC));
  if (!host_namespace || ::setns(host_namespace.get(), CLONE_NEWNET) != 0) return fail_errno(host, errno);
  const auto parsed = IpAddress::parse(address);
  if (!parsed) return fail(ErrorCode::kInvalid, "{} is no address", address);
  kernel::NetlinkWorkloadLinks links;
  const kernel::WorkloadPair pair{
      .host_name = name, .name = "eth0", .namespace_path = container, .mac = {{2, 0, 0, 0, 0, 1}}};
  if (command == "del") {
    TRY([[maybe_unused]] const bool removed, links.remove(name));
    return {};
  }
  TRY_VOID(links.create(pair));
  TRY([[maybe_unused]] const auto tables, links.address(pair, {*parsed}));
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  const auto done = run(argv[1], argv[2], argv[3], argv[4], argv[5]);
  if (!done) std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return done ? 0 : 1;
}
