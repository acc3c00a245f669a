#include "test/support/shapes/block_cluster.h"

#include <fmt/format.h>

#include "resources/ipam.h"

namespace ocicat::test {

std::string BlockCluster::host_name(unsigned number) {
  return number == 0 ? kShapeNode : fmt::format("host-{}", number);
}

Item BlockCluster::host(unsigned number, unsigned version) {
  Node node;
  node.metadata.name = host_name(number);
  node.ipv4 = Prefix{IpAddress::v4(0xAC100000U + number + (version << 16)), 12};
  node.vxlan[0].address = IpAddress::v4(0x64400000U + number);
  return item(Kind::kNode, std::move(node));
}

Item BlockCluster::block(unsigned number) const {
  AddressBlock block;
  block.cidr = Prefix{IpAddress::v4(0x0A000000U + number * 64), 26};
  block.metadata.name = name_of(block.cidr);
  const auto owner = number / blocks_of_each;
  block.node = host_name(owner);
  if (number % 10 == 0)
    block.elsewhere.push_back({IpAddress::v4(0x0A000000U + number * 64 + 5), host_name((owner + 1) % hosts)});
  return item(Kind::kIpamBlock, std::move(block));
}

Item BlockCluster::pool() const {
  IpPool pool;
  pool.metadata.name = "pool";
  pool.cidr = *Prefix::parse("10.0.0.0/8");
  pool.block_size = 26;
  pool.vxlan = vxlan;
  return item(Kind::kIpPool, std::move(pool));
}

void BlockCluster::each(const Take& take) const {
  take(pool());
  for (unsigned number = 0; number < hosts; ++number) take(host(number));
  for (unsigned number = 0; number < blocks(); ++number) take(block(number));
}

}  // namespace ocicat::test
