// What connections carry: by walks over the maps, and by the ring when they give way. Each walk is another agent's.
#include "bpf/workload_programs.h"
#include "dataplane/ebpf/connection_ledger.h"

namespace ocicat::test {
namespace {

using dataplane::ebpf::Booking;

class WorkloadProgramsBooks : public WorkloadPrograms {
 protected:
  std::vector<Booking> walk() {
    dataplane::ebpf::ConnectionLedger ledger(dataplane::ebpf::maps_of(pins_.path()));
    std::vector<Booking> all;
    const auto visit = [&](const Booking& booking) { all.push_back(booking); };
    CHECK(ledger.walk([&] { return drain(ledger, visit); }, visit));
    CHECK(drain(ledger, visit));
    return all;
  }
  bool drain(dataplane::ebpf::ConnectionLedger& ledger, const std::function<void(const Booking&)>& visit) {
    return ring_.read_all([&](auto record) {
      bpf::departed told;
      if (record.size() != sizeof told) return;
      std::memcpy(&told, record.data(), sizeof told);
      ledger.depart(told, visit);
    });
  }
  // A sends so many to B, and B so many to A.
  void pass(int there, int back) {
    for (; there > 0; --there) {
      for (const auto at : {At::kFromA, At::kToB}) run_program(at, to_b_);
    }
    for (; back > 0; --back) {
      for (const auto at : {At::kFromB, At::kToA}) run_program(at, to_a_);
    }
  }
  static void expect_carried(const Booking& booking, std::uint64_t there, std::uint64_t back,
                             bool goes_on = true) {
    const auto a = static_cast<std::size_t>(bpf::beginner(&booking.connection)), b = 1 - a;
    EXPECT_EQ(booking.packets[a], there);
    EXPECT_EQ(booking.packets[b], back);
    EXPECT_EQ(booking.bytes[a], there * kSize);
    EXPECT_EQ(booking.bytes[b], back * kSize);
    EXPECT_EQ(booking.goes_on, goes_on);
  }

  static constexpr std::uint64_t kSize = 20 + 8 + 4;
  const Bytes to_b_ = ethernet(ipv4({.source = kA4, .destination = kB4}, udp(1000, 53, 4)));
  const Bytes to_a_ = ethernet(ipv4({.source = kB4, .destination = kA4}, udp(53, 1000, 4)));
};

TEST_F(WorkloadProgramsBooks, TellWhatConnectionsCarryOnceAndWhoLetThem) {
  pass(3, 2);
  const auto first = walk();
  ASSERT_EQ(first.size(), 1U);
  expect_carried(first[0], 3, 2);
  EXPECT_EQ(first[0].outcomes, (std::array{1U, 1U}));
  expect_carried(walk().at(0), 0, 0);
  pass(1, 0);
  expect_carried(walk().at(0), 1, 0);
}

TEST_F(WorkloadProgramsBooks, TellTheRestOfAConnectionWhosePlaceAnotherTakes) {
  for (const bool is_known : {false, true}) {
    pass(3, 2);
    if (is_known) expect_carried(walk().at(0), 3, 2);
    pass(1, 1);
    age_connections(61);
    pass(5, 0);
    const auto all = walk();
    ASSERT_EQ(all.size(), 2U);
    const auto& gone = all[all[0].goes_on ? 1 : 0];
    is_known ? expect_carried(gone, 1, 1, false) : expect_carried(gone, 4, 3, false);
    EXPECT_EQ(gone.outcomes, (std::array{1U, 1U}));
    expect_carried(all[all[0].goes_on ? 0 : 1], 5, 0);
    age_connections(61);
    expect_carried(walk().at(0), 0, 0, false);
    EXPECT_TRUE(walk().empty()) << "it has been told that it is over";
  }
}

TEST_F(WorkloadProgramsBooks, SayNothingOfOneThatGivesWayOfWhichAllIsTold) {
  pass(3, 2);
  age_connections(61);
  walk();
  pass(1, 0);
  std::size_t departed = 0;
  ring_.read_all([&](auto record) { departed += record.size() == sizeof(bpf::departed) ? 1 : 0; });
  EXPECT_EQ(departed, 0U);
}

TEST_F(WorkloadProgramsBooks, CountWhatThereIsNoRoomFor) {
  pass(3, 2);
  walk();
  pass(7, 0);
  age_connections(61);
  // Until the first half of the ring is full.
  const auto frame = ethernet(ipv4({.source = kFar4, .destination = kB4}, udp(1, 53)));
  const auto program = kernel::bpf::open_pin(pins_.path() / "programs" / "from_workload");
  CHECK(program);
  bed_.host().run([&] {
    const int interface = static_cast<int>(::if_nametoindex("calia"));
    CHECK(kernel::bpf::run(program->get(), frame, interface, interface, 40'000));
  });
  const auto before = counters()[bpf::COUNT_UNTOLD];
  pass(2, 0);
  EXPECT_EQ(counters()[bpf::COUNT_UNTOLD] - before, 7U);
  const auto all = walk();
  ASSERT_EQ(all.size(), 1U);
  expect_carried(all[0], 2, 0);
}

TEST_F(WorkloadProgramsBooks, DoNotNameWhatDeniesAConnectionByNow) {
  pass(3, 2);
  auto changes = HostChanges();
  add_pod(changes, "b", b_, kDenyAll, kDenyAll);
  change(std::move(changes));
  pass(1, 1);
  const auto all = walk();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].outcomes, (std::array{1U, 1U}));
}

}  // namespace
}  // namespace ocicat::test
