// Which host endpoint the maps say that an interface has, after any history and at any moment of a change.
#include "dataplane/ebpf/host_image.h"

#include <gtest/gtest.h>

#include <array>
#include <random>

#include "kernel/simulated_bpf.h"
#include "test/support/for_seeds.h"

namespace ocicat::dataplane::ebpf {
namespace {

constexpr std::size_t kRoomForNames = 6;  // for names of interfaces
constexpr std::array kNames{"eth0", "eth1", "eth2", "eth3", "eth4"};

ResourceKey key_of(std::uint32_t id) {
  return {Kind::kHostEndpoint, "", std::string(1, static_cast<char>('a' + id))};
}

class Maps {
 public:
  Maps() { begin(); }

  // As an agent does that finds the maps.
  void begin() {
    image_.emplace(endpoints_, names, interfaces_);
    Changes<ResourceKey, HostEndpointState> all;
    for (std::uint32_t id = 1; id < 4; ++id) all.update(key_of(id), {.id = id, .interface_name = ""});
    image_->want(all);
  }
  Result<void> write(bool anew) {
    image_->want_at(wanted_);
    image_->want_workloads(workloads_);
    Step step(host_);
    TRY_VOID(anew ? image_->resync({}, step) : image_->update({}, step));
    shown_ = said();
    return step.finish();
  }
  // As bpf/lib/host_endpoints.h looks it up.
  std::uint32_t has(const std::string& name) const {
    bpf::interface_name key{};
    std::ranges::copy(name, key.letters);
    auto found = names.elements.find(kernel::bpf::text_of(kernel::bpf::bytes_of(key)));
    if (found == names.elements.end()) found = names.elements.find(std::string(sizeof key, '\0'));
    if (found == names.elements.end()) return 0;
    std::uint32_t number = 0;
    std::memcpy(&number, found->second.data(), sizeof number);
    return interfaces_.at(number).endpoint[host_.batch & 1];
  }
  using Said = std::map<std::string, std::uint32_t>;
  Said said() const {
    Said said;
    for (const auto* name : kNames) said.emplace(name, has(name));
    said.emplace("another", has("another"));
    return said;
  }
  // What the last write had said when all was written and nothing showed.
  const Said& shown_before() const { return shown_; }
  Said wanted() const {
    const auto id_of = [](const ResourceKey* key) {
      return key == nullptr ? 0U : static_cast<std::uint32_t>(key->name[0] - 'a');
    };
    Said said;
    for (const auto* name : kNames) {
      said.emplace(name,
                   id_of(wanted_.holder_of(name)) | (workloads_.contains(name) ? INTERFACE_OF_WORKLOAD : 0));
    }
    said.emplace("another", id_of(wanted_.holder_of("another")));
    return said;
  }
  void change(std::minstd_rand& random) {
    const auto pick = [&](std::size_t below) { return random() % below; };
    const std::string name = kNames.at(pick(kNames.size()));
    const auto id = static_cast<std::uint32_t>(pick(4));
    switch (pick(4)) {
      case 0:
        wanted_.all_others = id == 0 ? std::nullopt : std::optional(key_of(id));
        break;
      case 1:
        if (!workloads_.erase(name)) workloads_.insert(name);
        break;
      default:
        wanted_.by_name.erase(name);
        if (id != 0) wanted_.by_name.emplace(name, key_of(id));
    }
  }
  // Of names that have an entry, each has a number of its own.
  std::set<std::string> numbers() const {
    std::set<std::string> numbers;
    for (const auto& [name, number] : names.elements) EXPECT_TRUE(numbers.insert(number).second);
    return numbers;
  }

  kernel::bpf::SimulatedMap names;

 private:
  bpf::host host_{};
  std::vector<bpf::host_endpoint> endpoints_ = std::vector<bpf::host_endpoint>(8);
  std::vector<bpf::interface_endpoint> interfaces_ = std::vector<bpf::interface_endpoint>(kRoomForNames);
  HostInterfaces wanted_;
  std::set<std::string> workloads_;
  std::optional<HostImage> image_;
  Said shown_;
};

TEST(HostImage, SaysAfterAnyHistoryWhatIsWantedAndUntilAChangeShowsWhatWas) {
  test::for_seeds(100, [](std::uint64_t seed) {
    std::minstd_rand random(static_cast<std::uint32_t>(seed));
    Maps maps;
    EXPECT_TRUE(maps.write(true));
    for (int round = 0; round < 40; ++round) {
      for (auto left = 1 + random() % 3; left > 0; --left) maps.change(random);
      const auto before = maps.said();
      const bool dies = random() % 4 == 0;
      if (dies) maps.names.fails_after = static_cast<int>(random() % 5);
      const auto written = maps.write(false);
      maps.names.fails_after.reset();
      if (written) {
        EXPECT_EQ(maps.shown_before(), before);
      } else if (maps.said() != maps.wanted()) {
        EXPECT_EQ(maps.said(), before) << "either all of it, or nothing";
      }
      if (!written || random() % 8 == 0) {
        maps.begin();
        EXPECT_TRUE(maps.write(true));
      }
      EXPECT_EQ(maps.said(), maps.wanted());
      maps.numbers();
      if (testing::Test::HasFailure()) return false;
    }
    return true;
  });
}

// One of a number that there is not, and one of another's.
TEST(HostImage, TakesNoEntryForItsOwnThatNoneOfItsKindCanHaveWritten) {
  std::minstd_rand random(1);
  Maps maps;
  EXPECT_TRUE(maps.write(true));
  for (int i = 0; i < 10; ++i) maps.change(random);
  EXPECT_TRUE(maps.write(false));
  ASSERT_GE(maps.names.elements.size(), 2U);
  maps.names.elements.begin()->second = maps.names.elements.rbegin()->second;
  const std::uint32_t beyond = kRoomForNames;
  std::string name(sizeof(bpf::interface_name), '\0');
  name[0] = 'x';
  maps.names.elements.emplace(name, kernel::bpf::text_of(kernel::bpf::bytes_of(beyond)));
  maps.begin();
  EXPECT_TRUE(maps.write(true));
  EXPECT_EQ(maps.said(), maps.wanted());
  EXPECT_FALSE(maps.names.elements.contains(name));
  maps.numbers();
}

}  // namespace
}  // namespace ocicat::dataplane::ebpf
