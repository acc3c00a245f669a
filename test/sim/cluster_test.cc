// The whole of Ocicat but its sockets, threads and clock, from one seed.
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "sim/cluster.h"
#include "test/support/for_seeds.h"
#include "test/support/shrink.h"

namespace ocicat::test {
namespace {

constexpr std::size_t kMoves = 1'000;

std::string story(std::uint64_t seed, const Moves& moves) {
  const auto shrunk =
      shrink(moves, [&](const Moves& fewer) { return !run(seed, fewer).failure.empty(); }, 500);
  const auto last = run(seed, shrunk);
  std::string text =
      fmt::format("{}\n{} of {} moves are needed:\n", last.failure, shrunk.size(), moves.size());
  for (const auto& line : last.log) text += "  " + line + "\n";
  return text;
}

// Whatever comes late, twice, out of order or not at all; whoever dies; whatever the kernels refuse.
TEST(ClusterProperty, EveryAgentEndsAsIfMadeFromNothingAndOpensNothingOnTheWay) {
  spdlog::set_level(spdlog::level::warn);
  test::Run all;
  for_seeds(12, [&](std::uint64_t seed) {
    const auto moves = random_moves(seed, kMoves);
    const auto done = run(seed, moves);
    all.writes += done.writes;
    all.transactions += done.transactions;
    all.judged += done.judged;
    EXPECT_EQ(done.failure, "") << "OCICAT_SEED=" << seed << "\n" << story(seed, moves);
    return done.failure.empty();
  });
  // Not for want of anything happening.
  std::printf("%zu documents, %zu transactions; %zu packets passed, at host endpoints %zu, %zu denied\n",
              all.writes, all.transactions, all.judged.granted, all.judged.host_granted,
              all.judged.host_denied);
  EXPECT_GT(all.writes, 0U);
  EXPECT_GT(all.transactions, 0U);
  EXPECT_GT(all.judged.granted, 0U);
  EXPECT_GT(all.judged.host_granted, 0U);
  EXPECT_GT(all.judged.host_denied, 0U);
}

TEST(Cluster, DoesTheSameAgainFromTheSameSeed) {
  spdlog::set_level(spdlog::level::warn);
  const auto moves = random_moves(7, kMoves);
  EXPECT_EQ(run(7, moves).log, run(7, moves).log);
}

}  // namespace
}  // namespace ocicat::test
