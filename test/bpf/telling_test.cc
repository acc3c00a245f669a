// What is told of flows, by events.
#include "bpf/workload_programs.h"

namespace ocicat::test {
namespace {

TEST_F(WorkloadPrograms, TellOfAFlowOnceAtEachWorkload) {
  const auto syn = ethernet(ipv4({.source = kA4, .destination = kB4, .protocol = 6}, tcp(1000, 80, kSyn)));
  const auto answer =
      ethernet(ipv4({.source = kB4, .destination = kA4, .protocol = 6}, tcp(80, 1000, kSyn | kAck)));
  events();
  for (const auto at : {At::kFromA, At::kToB, At::kFromA, At::kToB}) run(at, syn);
  for (const auto at : {At::kFromB, At::kToA}) run(at, answer);
  const auto told = events();
  ASSERT_EQ(told.size(), 2U);
  const auto port = [](std::uint16_t number) { return htons(number); };
  for (std::size_t end = 0; end < 2; ++end) {
    EXPECT_EQ(told[end].source_port, port(1000));
    EXPECT_EQ(told[end].destination_port, port(80));
    EXPECT_EQ(told[end].source.word[3], inet_addr("10.65.0.2"));
    EXPECT_EQ(told[end].destination.word[3], inet_addr("10.65.0.3"));
    EXPECT_EQ(told[end].protocol, 6);
    EXPECT_EQ(told[end].outcome[end], 1U);
    EXPECT_EQ(told[end].outcome[1 - end], 0U) << "was not asked here";
    EXPECT_EQ(told[end].flags, end == 0 ? bpf::EVENT_FROM_ENDPOINT | bpf::EVENT_COMES_IN : 0);
  }
}

// What belongs to no connection and begins none, where nobody minds.
TEST_F(WorkloadPrograms, TellOnceAtEachWorkloadOfWhatIsJudgedAlone) {
  HostChanges changes;
  changes.settings = first_state(1).settings;
  changes.settings->drop_invalid = false;
  change(std::move(changes));
  const auto answer = [](std::uint16_t port) {
    return ethernet(ipv4({.source = kA4, .destination = kB4, .protocol = 6}, tcp(port, 1000, kSyn | kAck)));
  };
  events();
  for (const auto port : std::initializer_list<std::uint16_t>{80, 80, 80, 81}) {
    for (const auto at : {At::kFromA, At::kToB}) EXPECT_EQ(run(at, answer(port)), -1);
  }
  const auto told = events();
  ASSERT_EQ(told.size(), 4U);
  for (std::size_t i = 0; i < told.size(); ++i) {
    EXPECT_EQ(told[i].reason, bpf::COUNT_JUDGED);
    EXPECT_EQ(ntohs(told[i].source_port), i < 2 ? 80 : 81);
    EXPECT_EQ(told[i].outcome[i % 2], 1U);
  }
}

TEST_F(WorkloadPrograms, TellOfThoseWhoAreModestWhileOneFloods) {
  const auto flood = [&](At at, std::string_view source, std::uint16_t packets) {
    for (std::uint16_t i = 0; i < packets; ++i) {
      run(at, ethernet(ipv4({.source = kFar4, .destination = source}, udp(i, 53))));  // spoofed
    }
  };
  const auto room = [](std::size_t bytes) { return bytes / (sizeof(bpf::event) + 8); };
  // Fill what is anybody's, in the kernel: one at a time takes too long.
  const auto first = counters();
  const auto frame = ethernet(ipv4({.source = kFar4, .destination = kB4}, udp(1, 53)));
  const auto program = kernel::bpf::open_pin(pins_.path() / "programs" / "from_workload");
  CHECK(program);
  const int times = static_cast<int>(room(bpf::EVENTS_BYTES));
  bed_.host().run([&] {
    const int interface = static_cast<int>(::if_nametoindex("calia"));
    CHECK(kernel::bpf::run(program->get(), frame, interface, interface, times));
  });
  const auto flooded = counters();
  EXPECT_GT(flooded[bpf::COUNT_EVENTS_SHARE] - first[bpf::COUNT_EVENTS_SHARE], room(bpf::EVENTS_BYTES) / 3);
  flood(At::kFromB, kA4, 10);
  const auto after = counters();
  EXPECT_EQ(after[bpf::COUNT_EVENTS_SHARE], flooded[bpf::COUNT_EVENTS_SHARE]);
  EXPECT_EQ(after[bpf::COUNT_EVENTS_FULL], 0U);

  // All that was refused is told or counted.
  std::size_t of_a = 0, of_b = 0;
  const auto b = [&] {
    std::uint32_t index = 0;
    bed_.host().run([&] { index = ::if_nametoindex("calib"); });
    return index;
  }();
  ring_.read(1 << 20, [&](auto record) {
    bpf::event event;
    std::memcpy(&event, record.data(), sizeof event);
    ++(event.interface == b ? of_b : of_a);
  });
  EXPECT_EQ(of_b, 10U);
  EXPECT_EQ(of_a + after[bpf::COUNT_EVENTS_SHARE] - first[bpf::COUNT_EVENTS_SHARE],
            static_cast<std::size_t>(times));
}

}  // namespace
}  // namespace ocicat::test
