// Array maps of which a process has no more in its memory than it looks at.
#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include <random>

#include "bpf/resident.h"
#include "kernel/bpf.h"

namespace ocicat::kernel::bpf {
namespace {

constexpr std::uint32_t kEntries = 1024 * 1024;

UniqueFd array_of(std::uint32_t entries) {
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
  UniqueFd map(::bpf_map_create(BPF_MAP_TYPE_ARRAY, "growing", sizeof(std::uint32_t), sizeof(std::uint64_t),
                                entries, &options));
  CHECK(map);
  return map;
}

std::uint64_t read(const UniqueFd& map, std::uint32_t index) {
  std::uint64_t value = 0;
  CHECK(::bpf_map_lookup_elem(map.get(), &index, &value) == 0);
  return value;
}

TEST(GrowingArray, IsTheMapWhereverItIsLookedAt) {
  const auto map = array_of(kEntries);
  auto array = GrowingArray::of(map);
  ASSERT_TRUE(array) << array.error().message;
  const Elements<std::uint64_t> elements(*array);
  ASSERT_EQ(elements.size(), kEntries);
  auto& first = elements[0];
  first = 7;
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (std::uint32_t reach = 1; reach <= kEntries; reach *= 2) {
    const auto index = static_cast<std::uint32_t>(random() % reach);
    elements[index] = index + 9;
    EXPECT_EQ(read(map, index), index + 9);
  }
  for (const auto index : {std::uint32_t{1}, kEntries - 1}) {
    const std::uint64_t value = index + 3;
    ASSERT_EQ(::bpf_map_update_elem(map.get(), &index, &value, BPF_ANY), 0);
    EXPECT_EQ(elements.part(index, 1).front(), value);
  }
  first = 8;  // stays where it is
  EXPECT_EQ(read(map, 0), 8U);
}

TEST(GrowingArray, IsNoLargerThanAPage) {
  const auto map = array_of(3);
  auto array = GrowingArray::of(map);
  ASSERT_TRUE(array) << array.error().message;
  const Elements<std::uint64_t> elements(*array);
  elements[2] = 5;
  EXPECT_EQ(read(map, 2), 5U);
}

// Of a map's only value, the second of two arrays, wherever that begins.
TEST(GrowingArray, IsPartOfAValue) {
  constexpr std::uint32_t kBefore = 5'000;
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
  const UniqueFd map(::bpf_map_create(BPF_MAP_TYPE_ARRAY, "parts", sizeof(std::uint32_t),
                                      (kBefore + kEntries) * sizeof(std::uint64_t), 1, &options));
  ASSERT_TRUE(map);
  auto part = GrowingArray::of(map, {kBefore * sizeof(std::uint64_t), sizeof(std::uint64_t), kEntries});
  auto whole = MappedArray::of(map);
  ASSERT_TRUE(part && whole);
  const auto* there = whole->as<std::uint64_t>().data();
  const Elements<std::uint64_t> elements(*part);
  ASSERT_EQ(elements.size(), kEntries);
  for (const auto index : {std::uint32_t{0}, std::uint32_t{9'000}, kEntries / 2, kEntries - 1}) {
    elements[index] = index + 4;
    EXPECT_EQ(there[kBefore + index], index + 4);
  }
  EXPECT_EQ(there[kBefore - 1], 0U);
}

TEST(GrowingArray, TakesMemoryAsFarAsItIsLookedAt) {
  const auto map = array_of(kEntries);
  auto array = GrowingArray::of(map);
  ASSERT_TRUE(array) << array.error().message;
  const Elements<std::uint64_t> elements(*array);
  const auto before = resident_of_files();
  elements[1'000] = 1;
  EXPECT_LT(resident_of_files() - before, 512);
  elements[kEntries - 1] = 1;
  EXPECT_GE(resident_of_files() - before, 8 * 1024);
}

}  // namespace
}  // namespace ocicat::kernel::bpf
