// Who hears of whose changes. Needs root.
#include "kernel/nft_kernel.h"

#include <gtest/gtest.h>
#include <poll.h>

#include "kernel/network_namespace.h"

namespace ocicat::kernel::nft {
namespace {

bool woken(const Monitor& monitor) {
  pollfd waiting{monitor.fd(), POLLIN, 0};
  return ::poll(&waiting, 1, 0) > 0;
}

TEST(NftMonitor, IsWokenByOthersAndNotByThoseWhoHaveItNorByTheirOtherTables) {
  const auto host = NetworkNamespace::create().value();
  host.run([] {
    const auto ours = NetlinkKernel::open("ours").value();
    const auto ours_too = NetlinkKernel::open("ours_too").value();
    auto monitor = Monitor::open("ours", {ours->port(), ours_too->port()}).value();
    EXPECT_TRUE(ours->commit({AddTable()}));
    EXPECT_TRUE(ours_too->commit({AddTable()}));
    EXPECT_FALSE(woken(monitor));

    const auto other = NetlinkKernel::open("other").value();
    EXPECT_TRUE(other->commit({AddTable()}));
    EXPECT_TRUE(woken(monitor));
    int others = 0;
    EXPECT_FALSE(monitor.changed([&](MessageView) { ++others; }).value());
    EXPECT_GT(others, 0);

    EXPECT_TRUE(NetlinkKernel::open("ours").value()->commit({DeleteTable()}));
    EXPECT_TRUE(monitor.changed().value());
  });
}

}  // namespace
}  // namespace ocicat::kernel::nft
