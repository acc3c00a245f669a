// One nf_tables table of family inet: what it consists of, how it is changed, how it is read.
//
//   unit      a Batch is a transaction: all of it, or nothing
//   packets   one that is on its way through rules when others are committed ends by those it began with, but finds no
//             elements of a map that has gone with them: maps go later, by a commit behind let_packets_pass()
//   order     numbers in keys and data are in network order, so that memcmp orders keys as numbers
//   source    linux/netfilter/nf_tables.h; kernel net/netfilter/nf_tables_api.c
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "kernel/inline_bytes.h"

namespace ocicat::kernel::nft {

struct Set {
  std::string name;
  std::uint32_t key_type = 0;  // how the `nft` command shows keys: a datatype number of its own
  std::uint32_t key_length = 0;
  std::uint32_t data_length = 0;  // 0: a plain set
  bool verdicts = false;          // a map to verdicts; data_length is 0
  bool interval = false;          // an element is a start or, exclusive, an end
  // The most elements; 0: any number. Where the kernel knows, it has another hash, which finds keys of four bytes sooner
  // (nft_hash_fast in place of nft_rhash) and takes eleven bytes or more for each that there may be.
  std::uint32_t size = 0;
  // Packets add elements (Expressions::add, update, has_share), each of which goes when nobody has updated it for so long.
  // None: only transactions do.
  std::chrono::seconds forgets_after{};

  bool is_map() const { return verdicts || data_length != 0; }
  bool operator==(const Set&) const = default;
};

struct Hook {
  std::uint32_t number = 0;  // NF_INET_*
  std::int32_t priority = 0;
  bool translates = false;  // a chain of type "nat", asked once a connection; else "filter"
  bool operator==(const Hook&) const = default;
};

struct Chain {
  std::string name;
  std::optional<Hook> hook;  // with policy accept; none: reached by jump or goto only

  bool operator==(const Chain&) const = default;
};

using Mark = std::vector<std::uint8_t>;

struct Rule {
  std::string chain;
  std::vector<std::uint8_t> expressions;  // as Expressions writes them
  Mark mark;  // kept by the kernel with the rule, unread: how a rule is known again

  bool operator==(const Rule&) const = default;
};

// Key and data of an element. Data of a verdict map: verdict_data().
using ElementKey = InlineBytes<32>;
using ElementData = InlineBytes<32>;

struct Element {
  ElementKey key;  // empty: the catch-all, which answers where no other element does
  bool interval_end = false;
  ElementData data;  // empty in plain sets and interval ends

  auto operator<=>(const Element&) const = default;
};

// NF_DROP, NFT_RETURN, NFT_GOTO…; the chain for the last.
ElementData verdict_data(int code, std::string_view chain = {});

struct AddTable {};
struct DeleteTable {};  // with everything in it
struct AddSet {
  Set set;
};
struct DeleteSet {  // with its elements; no rule may use it
  std::string name;
};
struct AddChain {
  Chain chain;
};
struct DeleteChain {  // with its rules; nothing may lead to it
  std::string name;
};
struct AddRule {
  Rule rule;
};
struct DeleteRules {};  // of all chains
struct AddElements {
  Set set;
  std::vector<Element> elements;  // of an interval set: each start directly before its end
};
struct DeleteElements {
  Set set;
  std::vector<Element> elements;
};
using Operation = std::variant<AddTable, DeleteTable, AddSet, DeleteSet, AddChain, DeleteChain, AddRule,
                               DeleteRules, AddElements, DeleteElements>;
using Batch = std::vector<Operation>;

// Elements and other things a batch changes.
std::size_t size_of(const Batch& batch);

// What a table consists of, but its elements.
struct Shape {
  std::map<std::string, Set> sets;
  std::map<std::string, Chain> chains;
  std::map<std::string, std::vector<Mark>> rules_by_chain;  // marks, in the order of rules

  bool operator==(const Shape&) const = default;
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  // All or nothing. An error names the operation that failed.
  virtual Result<void> commit(const Batch& batch) = 0;
  // Nothing where there is no such table.
  virtual Result<std::optional<Shape>> read_shape() = 0;
  virtual Result<std::vector<Element>> read_elements(const Set& set) = 0;
  // Returns once no packet is left that goes by rules of before the last commit, as far as the kernel says (rcu.h).
  virtual void let_packets_pass() = 0;
};

}  // namespace ocicat::kernel::nft
