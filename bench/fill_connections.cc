// Fills the kernel's table of connections: a program for benchmarks that need many which concern nobody.
//
//   fill_connections COUNT    in the network namespace it is started in; TCP, open, between addresses of 198.18.0.0/15
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernel/connections.h"

namespace {

using namespace ocicat;

constexpr std::uint32_t kAnHour = 3600;  // seconds
constexpr std::uint32_t kClients = 198U << 24 | 18U << 16, kServer = 198U << 24 | 19U << 16 | 1;

kernel::Connection numbered(std::uint32_t number) {
  kernel::Connection connection;
  connection.source = connection.seen = IpAddress::v4(kClients + number / 16);
  connection.destination = connection.asked = IpAddress::v4(kServer);
  connection.protocol = IPPROTO_TCP;
  connection.source_port = connection.seen_port = static_cast<std::uint16_t>(40000 + number % 16);
  connection.destination_port = connection.asked_port = 80;
  connection.answered = connection.assured = true;
  connection.tcp_state = TCP_CONNTRACK_ESTABLISHED;
  connection.timeout = kAnHour;
  return connection;
}

Result<void> fill(std::uint32_t count) {
  std::vector<kernel::Connection> connections;
  for (std::uint32_t number = 0; number < count; ++number) connections.push_back(numbered(number));
  TRY(const auto kernel, kernel::NetlinkConnections::open());
  return kernel->put(connections);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto filled = fill(static_cast<std::uint32_t>(std::strtoul(argv[1], nullptr, 10)));
  if (!filled) std::fprintf(stderr, "%s\n", filled.error().message.c_str());
  return filled ? 0 : 1;
}
