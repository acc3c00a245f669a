// Where connections lie: whatever the secret, those that are alike are as well spread as any.
#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <vector>

#include "dataplane/ebpf/address_image.h"
#include "maps/connections.h"
#include "test/support/random.h"

namespace ocicat::dataplane::ebpf {
namespace {

struct Flows {
  const char* name;
  std::size_t count;
  std::function<bpf::connection_key(std::uint32_t)> key;
};

bpf::connection_key between(std::uint32_t client, std::uint32_t server, std::uint32_t port) {
  bpf::connection_key key{};
  key.address[0] = address_of(IpAddress::v4(0x0a410000U + client));
  key.address[1] = address_of(IpAddress::v4(0x0a420000U + server));
  key.port[0] = __builtin_bswap16(static_cast<std::uint16_t>(port));
  key.port[1] = __builtin_bswap16(443);
  key.protocol = 6;
  return key;
}

class AlikeConnections : public testing::TestWithParam<Flows> {};

// By chance alone about ten of 65,536 are a ninth one where eight have a place, and next to none of 28,000.
TEST_P(AlikeConnections, FindAPlaceWhateverTheSecret) {
  const auto seed = test::any_seed();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  test::Random random(seed);
  const auto& flows = GetParam();
  for (int i = 0; i < 100; ++i) {
    bpf::secret secret{};
    for (auto& word : secret.word) word = random.below(1ULL << 32) << 32 | random.below(1ULL << 32);
    std::vector<int> taken(bpf::CONNECTIONS_MAX / bpf::CONNECTION_WAYS);
    std::size_t without = 0;
    for (std::uint32_t flow = 0; flow < flows.count; ++flow) {
      const auto key = flows.key(flow);
      if (++taken[bpf::first_place_of(&key, &secret)] > static_cast<int>(bpf::CONNECTION_WAYS)) ++without;
    }
    ASSERT_LT(without, 60U) << "secret " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, AlikeConnections,
    testing::Values(Flows{"OfOneClientWithOneServer", 28'000,
                          [](std::uint32_t i) { return between(1, 1, 32'768 + i); }},
                    Flows{"OfManyClientsWithManyServers", 65'536,
                          [](std::uint32_t i) { return between(i % 256, i / 256, 5'000); }},
                    Flows{"OfManyClientsWithOneServer", 65'536,
                          [](std::uint32_t i) { return between(i % 64, 1, 1'024 + i / 64); }}),
    [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace ocicat::dataplane::ebpf
