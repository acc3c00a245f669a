// What eBPF maps say, after any history and at any moment of a change, over maps in memory.
#include <gtest/gtest.h>

#include <random>

#include "dataplane/ebpf/address_image.h"
#include "dataplane/ebpf/table_image.h"
#include "netns/random_tables.h"
#include "policy/simulator.h"

namespace ocicat::test {
namespace {

using namespace dataplane::ebpf;
using policy::ChainId;
using policy::ProgramId;
using policy::Verdict;

// The maps, and the lookup of bpf/lib/lookup.h in them.
struct Maps {
  bpf::host host{};
  std::vector<bpf::program> programs = std::vector<bpf::program>(16);
  std::vector<bpf::chain> chains = std::vector<bpf::chain>(16);
  std::vector<bpf::vocabulary> vocabularies = std::vector<bpf::vocabulary>(16);
  std::vector<bpf::entry> entries = std::vector<bpf::entry>(2048);
  std::vector<bpf::cell> cells = std::vector<bpf::cell>(4096);
  std::unique_ptr<bpf::nets> nets = std::make_unique<bpf::nets>();

  TableMemory memory() {
    using kernel::bpf::Elements;
    return {programs, chains, vocabularies, Elements<bpf::entry>(entries), Elements<bpf::cell>(cells)};
  }
  std::size_t side() const { return host.batch & 1; }

  std::uint32_t class_of(const IpAddress& peer) const {
    const auto address = address_of(peer);
    return bpf::net_class_of(nets.get(), &address, static_cast<std::uint32_t>(side()));
  }
  std::uint32_t entry_of(const bpf::row& row, std::uint32_t index) const {
    return index < row.size ? entries.at(row.first + index).value[side()] : 0;
  }
  std::uint32_t search(std::uint32_t table, std::uint32_t key) const {
    const auto first = table & TABLE_PLACE;
    if ((table & TABLE_ONE_KEY) != 0)
      return cells.at(first).first == key ? cells.at(first).answer : ANSWER_BASE;
    std::uint32_t answer = 0;
    for (std::uint32_t i = 1; i <= cells.at(first).first; ++i) {
      if (cells.at(first + i).first <= key) answer = cells.at(first + i).answer;
    }
    return answer;
  }
  ProgramId program_of(ChainId id, const IpAddress& own) const {
    const auto& chain = chains.at(static_cast<std::size_t>(id)).version[side()];
    if (chain.base == 0 || chain.programs.size == 0) return ProgramId{chain.base};
    const auto projection = entry_of(vocabularies.at(chain.vocabulary).projections[side()], class_of(own));
    const auto program = entry_of(chain.programs, projection);
    return ProgramId{program != 0 ? program : chain.base};
  }
  Verdict verdict(ProgramId id, const IpAddress& peer, const policy::Packet& packet) const {
    const auto& program = programs.at(static_cast<std::size_t>(id)).version[side()];
    if (program.base == 0) return Verdict::kDeny;
    const auto& row = vocabularies.at(program.vocabulary).projections[side()];
    const auto projection = entry_of(row, class_of(peer));
    const auto table = projection == 0 ? 0 : entry_of(program.tables, projection);
    const auto key = policy::table_key(packet);
    const auto search_both = [&](std::uint32_t in) {
      if ((in & ANSWER_KIND) != 0) return in;
      const auto answer = search(in, key);
      return (answer & ANSWER_KIND) == ANSWER_SOURCE_PORTS ? search(answer & ANSWER_VALUE, packet.source_port)
                                                           : answer;
    };
    auto answer = table == 0 ? ANSWER_BASE : search_both(table);
    if (answer == ANSWER_BASE) answer = search_both(program.base);
    const auto kind = answer & ANSWER_KIND;
    if (kind == ANSWER_ALLOW || kind == ANSWER_LOG_ALLOW) return Verdict::kAllow;
    return kind == ANSWER_NONE || kind == ANSWER_LOG_NONE ? Verdict::kNone : Verdict::kDeny;
  }
};

struct Images {
  explicit Images(Maps& maps) : tables(maps.memory()), addresses(NetMemory::of(*maps.nets)) {}
  // As an agent does first.
  void begin(bpf::host& host) {
    Step step(host);
    ASSERT_TRUE(resync(step));
    ASSERT_TRUE(step.finish());
  }
  void want(const policy::TablesChanges& changes) {
    tables.want(changes);
    addresses.want(changes.classes);
  }
  Result<void> update(Step& step) {
    TRY_VOID(tables.update(step));
    return addresses.update(step);
  }
  Result<void> resync(Step& step) {
    TRY_VOID(tables.resync(step));
    return addresses.resync(step);
  }
  TableImage tables;
  AddressImage addresses;
};

class EbpfImages : public testing::Test {
 protected:
  EbpfImages() {
    for (const auto* text : {"203.0.113.0", "203.0.113.1", "203.0.113.8", "203.0.113.255", "10.65.0.2",
                             "2001:db8:f::1", "2001:db8:f::8", "::"}) {
      options_.peers.push_back(*IpAddress::parse(text));
    }
    for (const auto* text : {"203.0.113.0/24", "203.0.113.0/28", "203.0.113.8/29", "10.65.0.0/16",
                             "0.0.0.0/0", "2001:db8:f::/64", "2001:db8:f::8/125", "::/0", "::/64"}) {
      options_.nets.push_back(*Prefix::parse(text));
    }
    options_.chains = ChainId{3};
    for (int i = 0; i < 40; ++i) packets_.push_back(random_packet(random_, Family::kIpv4));
  }
  void expect_verdicts_of(const policy::Tables& tables, const char* when) {
    const policy::Simulator simulator(tables);
    for (std::uint32_t id = 1; id <= 4; ++id) {
      for (const auto& peer : options_.peers) {
        for (const auto& packet : packets_) {
          ASSERT_EQ(maps_.verdict(ProgramId{id}, peer, packet),
                    simulator.lookup(ProgramId{id}, peer, packet).verdict)
              << when << ": program " << id << " peer " << peer.to_string();
        }
      }
    }
    for (std::uint32_t id = 1; id <= 3; ++id) {
      if (!tables.chains.contains(ChainId{id})) continue;  // denies here, and has nothing to say there
      for (const auto& own : options_.peers) {
        const auto& packet = packets_[id];
        const auto& peer = options_.peers.front();
        ASSERT_EQ(maps_.verdict(maps_.program_of(ChainId{id}, own), peer, packet),
                  simulator.lookup(ChainId{id}, own, peer, packet).verdict)
            << when << ": chain " << id << " own address " << own.to_string();
      }
    }
  }
  // Mostly small steps: most of what was there stays.
  policy::Tables next_state() {
    auto tables = random_tables(random_, options_);
    if (random_.percent(30)) return tables;
    auto mixed = wanted_;
    mixed.classes = tables.classes;
    if (random_.percent(50)) mixed.projections = tables.projections;
    if (random_.percent(30)) mixed.tables_by_projection = tables.tables_by_projection;
    if (random_.percent(30)) {
      mixed.chains = tables.chains;
      mixed.chain_programs = tables.chain_programs;
    }
    return mixed.programs.empty() ? tables : mixed;
  }

  const std::uint64_t seed_ = std::random_device{}();
  testing::ScopedTrace trace_{__FILE__, __LINE__, fmt::format("seed {}", seed_)};
  Random random_{seed_};
  RandomTablesOptions options_;
  std::vector<policy::Packet> packets_;
  policy::Tables wanted_;
  Maps maps_;
};

TEST_F(EbpfImages, SayTheOldUntilTheStepShowsAndTheNewFromThenOn) {
  Images images(maps_);
  images.begin(maps_.host);
  for (int round = 0; round < 30; ++round) {
    const auto next = next_state();
    images.want(changes_between(wanted_, next));
    Step step(maps_.host);
    ASSERT_TRUE(images.update(step));
    expect_verdicts_of(wanted_, "before it shows");
    wanted_ = next;
    ASSERT_TRUE(step.finish());
    expect_verdicts_of(wanted_, "after it shows");
    ++maps_.host.batch;  // both sides say the same now
    expect_verdicts_of(wanted_, "on the other side");
  }
}

TEST_F(EbpfImages, AreFoundAsTheyAreByAnAgentThatStartsAgain) {
  Images images(maps_);
  images.begin(maps_.host);
  for (int round = 0; round < 10; ++round) {
    const auto next = next_state();
    images.want(changes_between(wanted_, next));
    Step step(maps_.host);
    ASSERT_TRUE(images.update(step));
    ASSERT_TRUE(step.finish());
    wanted_ = next;
    Images fresh(maps_);
    fresh.want(changes_between({}, wanted_));
    Step nothing(maps_.host);
    ASSERT_TRUE(fresh.resync(nothing));
    EXPECT_FALSE(nothing.shows_something());
    EXPECT_EQ(nothing.writes(), 0U);
  }
}

TEST_F(EbpfImages, AreMendedAfterAStopAtAnyMoment) {
  for (int round = 0; round < 40; ++round) {
    const auto next = next_state();
    {
      Images stopped(maps_);
      stopped.want(changes_between({}, wanted_));
      Step first(maps_.host);
      ASSERT_TRUE(stopped.resync(first));
      ASSERT_TRUE(first.finish());
      stopped.want(changes_between(wanted_, next));
      Step step(maps_.host);
      ASSERT_TRUE(stopped.update(step));
      expect_verdicts_of(wanted_, "while it was prepared");
      if (random_.percent(60)) {
        if (step.shows_something()) ++maps_.host.batch;  // and no more
        expect_verdicts_of(next, "although it was not finished");
      }
    }
    wanted_ = next;
    Images fresh(maps_);
    fresh.want(changes_between({}, wanted_));
    Step step(maps_.host);
    ASSERT_TRUE(fresh.resync(step));
    ASSERT_TRUE(step.finish());
    expect_verdicts_of(wanted_, "after it was mended");
    ++maps_.host.batch;
    expect_verdicts_of(wanted_, "on the other side");
  }
}

TEST_F(EbpfImages, NameEveryProgramWhoseVerdictsChange) {
  Images images(maps_);
  images.begin(maps_.host);
  for (int round = 0; round < 40; ++round) {
    const auto next = next_state();
    images.want(changes_between(wanted_, next));
    const auto concerned = images.tables.concerned(
        images.addresses.moves(), [&](policy::ClassId id) { return images.addresses.is_kept(id); });
    const policy::Simulator before(wanted_), after(next);
    for (std::uint32_t id = 1; id <= 4; ++id) {
      for (const auto& peer : options_.peers) {
        for (const auto& packet : packets_) {
          if (before.lookup(ProgramId{id}, peer, packet).verdict ==
              after.lookup(ProgramId{id}, peer, packet).verdict)
            continue;
          ASSERT_TRUE(concerned.has(ProgramId{id}) || !wanted_.programs.contains(ProgramId{id}))
              << "round " << round << " program " << id << " peer " << peer.to_string();
        }
      }
    }
    for (std::uint32_t id = 1; id <= 3; ++id) {
      for (const auto& own : options_.peers) {
        for (const auto& packet : packets_) {
          const auto& peer = options_.peers.back();
          if (before.lookup(ChainId{id}, own, peer, packet).verdict ==
              after.lookup(ChainId{id}, own, peer, packet).verdict)
            continue;
          ASSERT_TRUE(concerned.has(ChainId{id}) || !wanted_.chains.contains(ChainId{id}))
              << "round " << round << " chain " << id << " own address " << own.to_string();
        }
      }
    }
    Step step(maps_.host);
    ASSERT_TRUE(images.update(step));
    ASSERT_TRUE(step.finish());
    wanted_ = next;
  }
}

TEST_F(EbpfImages, ReportWhatDoesNotFitAndLeaveTheOldInForce) {
  Images images(maps_);
  const auto small = random_tables(random_, options_);
  images.want(changes_between({}, small));
  Step first(maps_.host);
  ASSERT_TRUE(images.resync(first));  // as every history begins
  ASSERT_TRUE(first.finish());
  auto large = small;
  large.programs.emplace(ProgramId{16}, large.programs.begin()->second);  // ids from 0 to 15 have a place
  images.want(changes_between(small, large));
  Step step(maps_.host);
  const auto done = images.update(step);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kExhausted);
  expect_verdicts_of(small, "after it did not fit");
}

}  // namespace
}  // namespace ocicat::test
