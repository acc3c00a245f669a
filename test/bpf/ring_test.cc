// A ring of the kernel's, of which its reader has a part in its memory.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <deque>
#include <random>
#include <vector>

#include "bpf/resident.h"
#include "kernel/bpf.h"
#include "kernel/bpf_ring.h"

namespace ocicat::kernel::bpf {
namespace {

constexpr std::uint32_t kBytes = 1024 * 1024;
constexpr std::array<std::int32_t, 4> kSizes{8, 65, 1'000, 9'001};  // of records
constexpr std::uint32_t kMost = kSizes.back();

using Record = std::vector<std::uint8_t>;

// Puts the beginning of the source's only value into the ring, so much of it.
UniqueFd writer_of(const UniqueFd& ring, const UniqueFd& source, std::int32_t size) {
  constexpr std::uint8_t kSet = BPF_ALU64 | BPF_MOV | BPF_K, kSetWide = BPF_LD | BPF_DW | BPF_IMM;
  const std::array<bpf_insn, 8> program{{
      {.code = kSetWide, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = ring.get()},
      {},
      {.code = kSetWide, .dst_reg = 2, .src_reg = BPF_PSEUDO_MAP_VALUE, .imm = source.get()},
      {},
      {.code = kSet, .dst_reg = 3, .imm = size},
      {.code = kSet, .dst_reg = 4, .imm = BPF_RB_NO_WAKEUP},
      {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_ringbuf_output},
      {.code = BPF_JMP | BPF_EXIT},
  }};
  UniqueFd loaded(
      ::bpf_prog_load(BPF_PROG_TYPE_XDP, "writer", "GPL", program.data(), program.size(), nullptr));
  CHECK(loaded);
  return loaded;
}

class RingTest : public testing::Test {
 protected:
  RingTest() {
    CHECK(map_ && source_);
    for (const auto size : kSizes) writers_.push_back(writer_of(map_, source_, size));
  }
  Record any_record(std::size_t writer) {
    Record record(static_cast<std::size_t>(kSizes.at(writer)));
    std::ranges::generate(record, [this] { return static_cast<std::uint8_t>(random_()); });
    return record;
  }
  // False: there is no room.
  bool write(std::size_t writer, const Record& record) {
    const std::uint32_t only = 0;
    auto value = record;
    value.resize(kMost);
    CHECK(::bpf_map_update_elem(source_.get(), &only, value.data(), BPF_ANY) == 0);
    const std::array<std::uint8_t, 64> any_frame{};
    const auto answer = run_in_driver(writers_[writer].get(), any_frame);
    CHECK(answer);
    return *answer == 0;
  }
  static std::size_t read(Ring& ring, std::size_t most, std::vector<Record>& records) {
    return ring.read(most, [&](Bytes told) {
      Record record(told.size());
      std::ranges::transform(told, record.begin(),
                             [](std::byte byte) { return std::to_integer<std::uint8_t>(byte); });
      records.push_back(std::move(record));
    });
  }

  const unsigned seed_ = std::random_device{}();
  testing::ScopedTrace trace_{__FILE__, __LINE__, std::to_string(seed_)};
  std::mt19937 random_{seed_};
  UniqueFd map_{::bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, kBytes, nullptr)};
  UniqueFd source_{::bpf_map_create(BPF_MAP_TYPE_ARRAY, "source", sizeof(std::uint32_t), kMost, 1, nullptr)};
  std::vector<UniqueFd> writers_;
};

TEST_F(RingTest, HandsOverEachRecordOnceInOrderRoundAndRound) {
  auto ring = Ring::of(map_);
  ASSERT_TRUE(ring) << ring.error().message;
  std::deque<Record> written;
  std::size_t bytes = 0;
  while (bytes < 6 * kBytes) {
    for (auto more = random_() % 1'500; more > 0; --more) {
      const auto writer = random_() % kSizes.size();
      auto record = any_record(writer);
      if (!write(writer, record)) break;
      bytes += record.size();
      written.push_back(std::move(record));
    }
    const auto most = random_() % 1'500;
    std::vector<Record> told;
    ASSERT_EQ(read(*ring, most, told), std::min<std::size_t>(most, written.size()));
    for (const auto& record : told) {
      ASSERT_EQ(record, written.front());
      written.pop_front();
    }
  }
}

TEST_F(RingTest, LeavesWhatIsNotReadToTheNextReader) {
  std::vector<Record> written, told;
  for (int i = 0; i < 3; ++i) {
    written.push_back(any_record(1));
    ASSERT_TRUE(write(1, written.back()));
  }
  for (int i = 0; i < 3; ++i) {
    auto ring = Ring::of(map_);
    ASSERT_TRUE(ring);
    EXPECT_EQ(read(*ring, 1, told), 1U);
  }
  EXPECT_EQ(told, written);
}

TEST_F(RingTest, TakesMemoryForWhatIsRead) {
  const auto before = resident_of_files();
  auto ring = Ring::of(map_);
  ASSERT_TRUE(ring);
  std::vector<Record> told;
  while (write(2, any_record(2))) EXPECT_EQ(read(*ring, 0, told), 0U);
  EXPECT_GT(read(*ring, kBytes, told), kBytes / 1'100);
  EXPECT_LT(resident_of_files() - before, 512);
}

}  // namespace
}  // namespace ocicat::kernel::bpf
