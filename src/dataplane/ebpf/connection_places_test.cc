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
  std::size_t without;
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

bool take_one_of(std::uint32_t places, std::vector<bool>& taken) {
  for (std::uint32_t i = 0; i < bpf::CONNECTION_WAYS; ++i) {
    const auto place = bpf::place_in(places, i);
    if (taken[place]) continue;
    taken[place] = true;
    return true;
  }
  return false;
}

class AlikeConnections : public testing::TestWithParam<Flows> {};

// Of 131,072, half as many as there are places, one in seven secrets leaves one or two without (2,000 were tried).
TEST_P(AlikeConnections, FindAPlaceWhateverTheSecret) {
  const auto seed = test::any_seed();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  test::Random random(seed);
  const auto& flows = GetParam();
  for (int i = 0; i < 100; ++i) {
    bpf::secret secret{};
    for (auto& word : secret.word) word = random.below(1ULL << 32) << 32 | random.below(1ULL << 32);
    std::vector<bool> taken(bpf::CONNECTIONS_MAX);
    std::size_t without = 0;
    for (std::uint32_t flow = 0; flow < flows.count; ++flow) {
      const auto key = flows.key(flow);
      if (!take_one_of(bpf::places_of(&key, &secret), taken)) ++without;
    }
    ASSERT_LE(without, flows.without) << "secret " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, AlikeConnections,
    testing::Values(Flows{"OfOneClientWithOneServer", 28'000, 0,
                          [](std::uint32_t i) { return between(1, 1, 32'768 + i); }},
                    Flows{"OfManyClientsWithManyServers", 65'536, 0,
                          [](std::uint32_t i) { return between(i % 256, i / 256, 5'000); }},
                    Flows{"OfManyClientsWithOneServer", 65'536, 0,
                          [](std::uint32_t i) { return between(i % 64, 1, 1'024 + i / 64); }},
                    Flows{"OfAllClientsWithAllServers", 131'072, 8,
                          [](std::uint32_t i) { return between(i % 512, i / 512, 5'000); }}),
    [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace ocicat::dataplane::ebpf
