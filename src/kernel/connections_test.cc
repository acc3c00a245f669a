// Connections that the kernel tracks, in a network namespace of their own. Needs root.
#include "kernel/connections.h"

#include <gtest/gtest.h>

#include "kernel/network_namespace.h"

namespace ocicat::kernel {
namespace {

constexpr std::uint8_t kUdp = 17;
constexpr std::size_t kAll = 5, kAtOnce = 3;

TEST(EndedConnections, AreReadSoManyAtATimeAndTheRestLater) {
  const auto host = NetworkNamespace::create().value();
  host.run([] {
    const auto kernel = NetlinkConnections::open().value();
    auto ended = EndedConnections::open().value();
    std::vector<Connection> connections;
    for (std::size_t i = 0; i < kAll; ++i) {
      Connection one{*IpAddress::parse("10.65.0.2"), *IpAddress::parse("10.65.0.3"), kUdp};
      one.source_port = static_cast<std::uint16_t>(1'000 + i);
      one.destination_port = 53;
      one.timeout = 600;
      connections.push_back(one);
    }
    ASSERT_TRUE(kernel->put(connections));
    connections.clear();
    ASSERT_TRUE(kernel->list([&](const Connection& one) { connections.push_back(one); }));
    ASSERT_EQ(connections.size(), kAll);
    ASSERT_TRUE(kernel->remove(connections));

    std::size_t told = 0;
    const auto count = [&](const Connection&) { ++told; };
    EXPECT_TRUE(ended.read(kAtOnce, count));
    EXPECT_EQ(told, kAtOnce);
    EXPECT_TRUE(ended.read(kAll, count));
    EXPECT_EQ(told, kAll);
    EXPECT_EQ(ended.take_lost(), 0U);
  });
}

}  // namespace
}  // namespace ocicat::kernel
