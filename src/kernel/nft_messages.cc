#include "kernel/nft_messages.h"

#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <chrono>
#include <cstring>
#include <numeric>

namespace ocicat::kernel::nft {
namespace {

constexpr std::uint16_t kSubsystem = NFNL_SUBSYS_NFTABLES << 8;
// An attribute's length has 16 bits; an element takes at most some 130 bytes.
constexpr std::size_t kMaxElementBytes = 60'000;

using std::chrono::milliseconds;

constexpr std::string_view kFilterType = "filter", kNatType = "nat";

nfgenmsg family_header() {
  return {NFPROTO_INET, NFNETLINK_V0, 0};
}

bool is_of(MessageView message, std::string_view table, const Attributes& attributes,
           std::size_t table_attribute) {
  const auto* header = reinterpret_cast<const nfgenmsg*>(&message + 1);
  return header->nfgen_family == NFPROTO_INET && attributes.text(table_attribute) == table;
}

std::string hex(ByteView bytes) {
  std::string text;
  for (const auto byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

ElementData verdict_data(int code, std::string_view chain) {
  ElementData data;
  data.append_be32(static_cast<std::uint32_t>(code));
  data.append({reinterpret_cast<const std::uint8_t*>(chain.data()), chain.size()});
  return data;
}

std::size_t size_of(const Batch& batch) {
  return std::accumulate(batch.begin(), batch.end(), std::size_t{0},
                         [](std::size_t sum, const Operation& operation) {
                           if (const auto* added = std::get_if<AddElements>(&operation))
                             return sum + added->elements.size();
                           if (const auto* removed = std::get_if<DeleteElements>(&operation))
                             return sum + removed->elements.size();
                           return sum + 1;
                         });
}

BatchMessages::BatchMessages(std::string_view table, const Batch& batch, std::uint32_t first_sequence)
    : table_(table), sequence_(first_sequence - 1) {
  const nfgenmsg edge{AF_UNSPEC, NFNETLINK_V0, htobe16(NFNL_SUBSYS_NFTABLES)};
  messages_.begin(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, ++sequence_, edge);
  messages_.end();
  positions_.emplace(sequence_, Position{0, "commit", {}});
  for (const auto& operation : batch) add(operation);
  acknowledged_ = sequence_;
  if (messages_.messages() > 1) {
    // Success is told once: by the acknowledgement of the last message.
    messages_.add_flags(positions_.at(sequence_).offset, NLM_F_ACK);
  }
  messages_.begin(NFNL_MSG_BATCH_END, NLM_F_REQUEST, ++sequence_, edge);
  messages_.end();
}

void BatchMessages::begin(std::uint16_t message, std::uint16_t flags) {
  positions_[++sequence_].offset = messages_.size();
  messages_.begin(static_cast<std::uint16_t>(kSubsystem | message),
                  static_cast<std::uint16_t>(NLM_F_REQUEST | flags), sequence_, family_header());
}

void BatchMessages::add(const Operation& operation) {
  const auto named = [&](std::string_view verb, std::string name) {
    positions_[sequence_].verb = verb;
    positions_[sequence_].name = std::move(name);
  };
  if (std::holds_alternative<AddTable>(operation)) {
    begin(NFT_MSG_NEWTABLE, NLM_F_CREATE);
    messages_.put_string(NFTA_TABLE_NAME, table_);
    messages_.end();
    named("add table", table_);
  } else if (std::holds_alternative<DeleteTable>(operation)) {
    begin(NFT_MSG_DELTABLE, 0);
    messages_.put_string(NFTA_TABLE_NAME, table_);
    messages_.end();
    named("delete table", table_);
  } else if (const auto* set = std::get_if<AddSet>(&operation)) {
    begin(NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL);
    put_set(set->set);
    messages_.end();
    named("add set", set->set.name);
  } else if (const auto* old = std::get_if<DeleteSet>(&operation)) {
    begin(NFT_MSG_DELSET, 0);
    messages_.put_string(NFTA_SET_TABLE, table_);
    messages_.put_string(NFTA_SET_NAME, old->name);
    messages_.end();
    named("delete set", old->name);
  } else if (const auto* chain = std::get_if<AddChain>(&operation)) {
    begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL);
    put_chain(chain->chain);
    messages_.end();
    named("add chain", chain->chain.name);
  } else if (const auto* gone = std::get_if<DeleteChain>(&operation)) {
    begin(NFT_MSG_DELCHAIN, 0);
    messages_.put_string(NFTA_CHAIN_TABLE, table_);
    messages_.put_string(NFTA_CHAIN_NAME, gone->name);
    messages_.end();
    named("delete chain", gone->name);
  } else if (const auto* rule = std::get_if<AddRule>(&operation)) {
    begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    messages_.put_string(NFTA_RULE_TABLE, table_);
    messages_.put_string(NFTA_RULE_CHAIN, rule->rule.chain);
    const auto nest = messages_.begin_nest(NFTA_RULE_EXPRESSIONS);
    messages_.append(rule->rule.expressions.data(), rule->rule.expressions.size());
    messages_.end_nest(nest);
    if (!rule->rule.mark.empty()) messages_.put(NFTA_RULE_USERDATA, rule->rule.mark);
    messages_.end();
    named("add rule to chain", rule->rule.chain);
  } else if (std::holds_alternative<DeleteRules>(operation)) {
    begin(NFT_MSG_DELRULE, 0);
    messages_.put_string(NFTA_RULE_TABLE, table_);
    messages_.end();
    named("delete rules of table", table_);
  } else if (const auto* added = std::get_if<AddElements>(&operation)) {
    put_elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, added->set, added->elements);
  } else if (const auto* removed = std::get_if<DeleteElements>(&operation)) {
    put_elements(NFT_MSG_DELSETELEM, 0, removed->set, removed->elements);
  }
}

void BatchMessages::put_set(const Set& set) {
  std::uint32_t flags = 0;
  if (set.interval) flags |= NFT_SET_INTERVAL;
  if (set.is_map()) flags |= NFT_SET_MAP;
  const auto forgets_after = static_cast<std::uint64_t>(milliseconds(set.forgets_after).count());
  if (forgets_after != 0) flags |= NFT_SET_EVAL | NFT_SET_TIMEOUT;
  messages_.put_string(NFTA_SET_TABLE, table_);
  messages_.put_string(NFTA_SET_NAME, set.name);
  messages_.put_be32(NFTA_SET_FLAGS, flags);
  messages_.put_be32(NFTA_SET_KEY_TYPE, set.key_type);
  messages_.put_be32(NFTA_SET_KEY_LEN, set.key_length);
  if (set.verdicts) {
    messages_.put_be32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
  } else if (set.data_length != 0) {
    messages_.put_be32(NFTA_SET_DATA_TYPE, 4);  // "integer", for who lists it
    messages_.put_be32(NFTA_SET_DATA_LEN, set.data_length);
  }
  if (forgets_after != 0) messages_.put_be64(NFTA_SET_TIMEOUT, forgets_after);
  if (set.size != 0) {
    const auto description = messages_.begin_nest(NFTA_SET_DESC);
    messages_.put_be32(NFTA_SET_DESC_SIZE, set.size);
    messages_.end_nest(description);
  }
  messages_.put_be32(NFTA_SET_ID, next_set_id_++);
}

void BatchMessages::put_chain(const Chain& chain) {
  messages_.put_string(NFTA_CHAIN_TABLE, table_);
  messages_.put_string(NFTA_CHAIN_NAME, chain.name);
  if (!chain.hook) return;
  const auto hook = messages_.begin_nest(NFTA_CHAIN_HOOK);
  messages_.put_be32(NFTA_HOOK_HOOKNUM, chain.hook->number);
  messages_.put_be32(NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(chain.hook->priority));
  messages_.end_nest(hook);
  messages_.put_string(NFTA_CHAIN_TYPE, chain.hook->translates ? kNatType : kFilterType);
  messages_.put_be32(NFTA_CHAIN_POLICY, NF_ACCEPT);
}

void BatchMessages::put_elements(std::uint16_t message, std::uint16_t flags, const Set& set,
                                 const std::vector<Element>& elements) {
  std::size_t next = 0;
  while (next < elements.size()) {
    begin(message, flags);
    messages_.put_string(NFTA_SET_ELEM_LIST_TABLE, table_);
    messages_.put_string(NFTA_SET_ELEM_LIST_SET, set.name);
    const auto list = messages_.begin_nest(NFTA_SET_ELEM_LIST_ELEMENTS);
    while (next < elements.size() && messages_.size() - list < kMaxElementBytes)
      put_element(set, elements[next++]);
    messages_.end_nest(list);
    messages_.end();
    positions_[sequence_].verb = message == NFT_MSG_NEWSETELEM ? "add to set" : "delete from set";
    positions_[sequence_].name = set.name;
  }
}

void BatchMessages::put_element(const Set& set, const Element& element) {
  const auto nest = messages_.begin_nest(NFTA_LIST_ELEM);
  std::uint32_t flags = 0;
  if (element.interval_end) flags |= NFT_SET_ELEM_INTERVAL_END;
  if (element.key.empty()) flags |= NFT_SET_ELEM_CATCHALL;
  if (flags != 0) messages_.put_be32(NFTA_SET_ELEM_FLAGS, flags);
  if (!element.key.empty()) {
    const auto key = messages_.begin_nest(NFTA_SET_ELEM_KEY);
    messages_.put(NFTA_DATA_VALUE, element.key.view());
    messages_.end_nest(key);
  }
  if (!element.data.empty()) {
    const auto data = messages_.begin_nest(NFTA_SET_ELEM_DATA);
    if (set.verdicts) {
      const auto verdict = messages_.begin_nest(NFTA_DATA_VERDICT);
      messages_.put_be32(NFTA_VERDICT_CODE, element.data.be32_at(0));
      const auto chain = element.data.view().subspan(4);
      if (!chain.empty()) {
        messages_.put_string(NFTA_VERDICT_CHAIN, {reinterpret_cast<const char*>(chain.data()), chain.size()});
      }
      messages_.end_nest(verdict);
    } else {
      messages_.put(NFTA_DATA_VALUE, element.data.view());
    }
    messages_.end_nest(data);
  }
  messages_.end_nest(nest);
}

std::string BatchMessages::describe(std::uint32_t sequence, std::uint32_t attribute_offset) const {
  const auto found = positions_.find(sequence);
  if (found == positions_.end()) return "unknown message";
  const auto& [offset, verb, name] = found->second;
  std::string text = fmt::format("{} {}", verb, name);
  // The offset leads to the element that was refused.
  const std::size_t at = offset + attribute_offset;
  if (attribute_offset == 0 || at + sizeof(nlattr) > messages_.size()) return text;
  const auto* attribute = reinterpret_cast<const nlattr*>(messages_.bytes().data() + at);
  if (at + attribute->nla_len > messages_.size() || (attribute->nla_type & NLA_TYPE_MASK) != NFTA_LIST_ELEM)
    return text;
  const auto element = Attributes::of_nest(attribute, NFTA_SET_ELEM_MAX + 1);
  const auto key = Attributes::of_nest(element[NFTA_SET_ELEM_KEY], NFTA_DATA_MAX + 1);
  return text + ": element " + hex(key.bytes(NFTA_DATA_VALUE));
}

std::vector<std::uint8_t> list_request(std::uint16_t message, std::string_view table, std::string_view set,
                                       std::uint32_t sequence) {
  MessageBuilder request;
  request.begin(static_cast<std::uint16_t>(kSubsystem | message), NLM_F_REQUEST | NLM_F_DUMP, sequence,
                family_header());
  // The table's name is attribute 1 in every kind of request.
  request.put_string(NFTA_SET_ELEM_LIST_TABLE, table);
  if (!set.empty()) request.put_string(NFTA_SET_ELEM_LIST_SET, set);
  request.end();
  return request.bytes();
}

void read_set(MessageView message, std::string_view table, Shape& shape) {
  const auto attributes = Attributes::of_message(message, sizeof(nfgenmsg), NFTA_SET_MAX + 1);
  if (!is_of(message, table, attributes, NFTA_SET_TABLE)) return;
  const auto flags = attributes.be32(NFTA_SET_FLAGS);
  if ((flags & NFT_SET_ANONYMOUS) != 0) return;
  Set set;
  set.name = attributes.text(NFTA_SET_NAME);
  set.key_type = attributes.be32(NFTA_SET_KEY_TYPE);
  set.key_length = attributes.be32(NFTA_SET_KEY_LEN);
  set.interval = (flags & NFT_SET_INTERVAL) != 0;
  set.size = Attributes::of_nest(attributes[NFTA_SET_DESC], NFTA_SET_DESC_MAX + 1).be32(NFTA_SET_DESC_SIZE);
  set.forgets_after = std::chrono::duration_cast<std::chrono::seconds>(
      milliseconds(static_cast<std::int64_t>(attributes.be64(NFTA_SET_TIMEOUT))));
  if ((flags & NFT_SET_MAP) != 0) {
    set.verdicts = attributes.be32(NFTA_SET_DATA_TYPE) == NFT_DATA_VERDICT;
    if (!set.verdicts) set.data_length = attributes.be32(NFTA_SET_DATA_LEN);
  }
  auto name = set.name;
  shape.sets.emplace(std::move(name), std::move(set));
}

void read_chain(MessageView message, std::string_view table, Shape& shape) {
  const auto attributes = Attributes::of_message(message, sizeof(nfgenmsg), NFTA_CHAIN_MAX + 1);
  if (!is_of(message, table, attributes, NFTA_CHAIN_TABLE)) return;
  Chain chain{std::string(attributes.text(NFTA_CHAIN_NAME)), {}};
  if (attributes.has(NFTA_CHAIN_HOOK)) {
    const auto hook = Attributes::of_nest(attributes[NFTA_CHAIN_HOOK], NFTA_HOOK_MAX + 1);
    const auto type = attributes.text(NFTA_CHAIN_TYPE);
    chain.hook = Hook{hook.be32(NFTA_HOOK_HOOKNUM), static_cast<std::int32_t>(hook.be32(NFTA_HOOK_PRIORITY)),
                      type == kNatType};
    // Another policy or type than ours is another chain than ours.
    if (attributes.be32(NFTA_CHAIN_POLICY) != NF_ACCEPT || (type != kFilterType && type != kNatType))
      chain.hook->number = ~0U;
  }
  auto name = chain.name;
  shape.chains.emplace(std::move(name), std::move(chain));
}

void read_rule(MessageView message, std::string_view table, Shape& shape) {
  const auto attributes = Attributes::of_message(message, sizeof(nfgenmsg), NFTA_RULE_MAX + 1);
  if (!is_of(message, table, attributes, NFTA_RULE_TABLE)) return;
  const auto mark = attributes.bytes(NFTA_RULE_USERDATA);
  shape.rules_by_chain[std::string(attributes.text(NFTA_RULE_CHAIN))].emplace_back(mark.begin(), mark.end());
}

void read_elements(MessageView message, const Set& set, std::vector<Element>& elements) {
  const auto attributes = Attributes::of_message(message, sizeof(nfgenmsg), NFTA_SET_ELEM_LIST_MAX + 1);
  if (attributes.text(NFTA_SET_ELEM_LIST_SET) != set.name) return;
  for_each_attribute(attributes[NFTA_SET_ELEM_LIST_ELEMENTS], [&](const nlattr* nest) {
    const auto fields = Attributes::of_nest(nest, NFTA_SET_ELEM_MAX + 1);
    const auto key = Attributes::of_nest(fields[NFTA_SET_ELEM_KEY], NFTA_DATA_MAX + 1);
    const auto data = Attributes::of_nest(fields[NFTA_SET_ELEM_DATA], NFTA_DATA_MAX + 1);
    Element element;
    element.key = ElementKey(key.bytes(NFTA_DATA_VALUE));
    element.interval_end = (fields.be32(NFTA_SET_ELEM_FLAGS) & NFT_SET_ELEM_INTERVAL_END) != 0;
    if (data.has(NFTA_DATA_VERDICT)) {
      const auto verdict = Attributes::of_nest(data[NFTA_DATA_VERDICT], NFTA_VERDICT_MAX + 1);
      element.data =
          verdict_data(static_cast<int>(verdict.be32(NFTA_VERDICT_CODE)), verdict.text(NFTA_VERDICT_CHAIN));
    } else {
      element.data = ElementData(data.bytes(NFTA_DATA_VALUE));
    }
    elements.push_back(element);
  });
}

std::string_view table_of(MessageView message) {
  switch (message.nlmsg_type & 0xff) {
    case NFT_MSG_NEWTABLE:
    case NFT_MSG_DELTABLE:
    case NFT_MSG_NEWCHAIN:
    case NFT_MSG_DELCHAIN:
    case NFT_MSG_NEWRULE:
    case NFT_MSG_DELRULE:
    case NFT_MSG_NEWSET:
    case NFT_MSG_DELSET:
    case NFT_MSG_NEWSETELEM:
    case NFT_MSG_DELSETELEM: {
      const auto attributes = Attributes::of_message(message, sizeof(nfgenmsg), NFTA_SET_ELEM_LIST_TABLE + 1);
      return is_of(message, attributes.text(NFTA_TABLE_NAME), attributes, NFTA_TABLE_NAME)
                 ? attributes.text(NFTA_TABLE_NAME)
                 : std::string_view{};
    }
    default:
      return {};
  }
}

}  // namespace ocicat::kernel::nft
