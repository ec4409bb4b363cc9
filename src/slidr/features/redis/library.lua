#!lua name=slidr_2
-- The library that slidr loads into Redis. Redis keeps records and clicks; it computes nothing of a feature.
--
-- An entity's value is a run of chunks, all numbers little-endian:
--     where the entity was ever folded: through (int64), 0xFFFFFFFF (uint32), length (uint32), packed record (see values.py)
--     for each call that appended clicks: base (int64), count (uint32), and for each click
--         offset (uint32; base + offset is the click's sequence), time (int64, us), a uint32 for each counted column
-- `through` is the highest sequence folded into the record. A click's claim is the text "sequence time token".
--
-- Every function compares the partition's agreement (keys[1]) with what the caller expects (args[1]) and does nothing
-- but return it where they differ: a store that lost its data, or changed its blocks, folds no click.
--
-- While this file loads, Redis 7.0 has no `struct`, `string` or `math` yet: they are named inside the functions only.

local HOUR = 3600000000
local FOLDED = 4294967295
local HEAD = 12
local LIFE = 2592000000 -- ms: 30 days without a click, and agreement and counter expire too

local function disagreement(keys, args)
  local held = redis.call('GETEX', keys[1], 'PX', LIFE) or ''
  if held ~= args[1] then return {'agreement', held} end
end

-- Returns the claims of clicks that are repeats, '' for the others, and whether there is any: a click_id claimed within
-- an hour of the click's time, unless that lies more than two hours behind the newest click, where no store remembers it.
-- keys: 3 newest time, then one for each click; args: times from 7 on; newest: a later one that the caller knows of
local function known(keys, args, clicks, newest)
  local claims, found = redis.call('MGET', unpack(keys, 4, 3 + clicks)), false
  newest = math.max(newest, tonumber(redis.call('GET', keys[3]) or 0))
  for click = 1, clicks do
    local claim, own = claims[click] or '', tonumber(args[6 + click])
    if claim ~= '' then
      local time, token = string.match(claim, '^%d+ (-?%d+) (%w+)$')
      time = tonumber(time or '')
      -- The caller's own claim, of a call whose answer was lost, is known however late the click is.
      local mine = token == args[5]
      if not time or not mine and (math.abs(time - own) > HOUR or time < newest - 2 * HOUR) then claim = '' end
    end
    if claim == '' then newest = math.max(newest, own) end
    claims[click] = claim
    found = found or claim ~= ''
  end
  return claims, found, newest
end

-- Appends chunks to entities, lets them live on, and returns their values; of one that begins as the caller says, in a table,
-- what follows that. See beginnings.py.
-- from: place of the first entity in keys; its chunk stands at args[from + shift], and behind all chunks, in the same
--       order, stand the beginnings: head, four bytes, their place from 0 on, length; '' where the caller knows none
local function append(keys, args, from, shift, base, expiry)
  local start, values, known = struct.pack('<i8', base), {}, shift + #keys - from + 1
  for place = from, #keys do
    local key, begun = keys[place], args[place + known]
    redis.call('APPEND', key, start .. args[place + shift])
    local same = false
    if begun ~= '' then
      local at, length = struct.unpack('<I4I4', begun, HEAD + 5)
      same = redis.call('GETRANGE', key, 0, HEAD - 1) == string.sub(begun, 1, HEAD)
        and redis.call('GETRANGE', key, at, at + 3) == string.sub(begun, HEAD + 1, HEAD + 4)
      if same then
        values[#values + 1] = {redis.call('GETRANGE', key, length, -1)}
        redis.call('PEXPIRE', key, expiry)
      end
    end
    if not same then values[#values + 1] = redis.call('GETEX', key, 'PX', expiry) end
  end
  return {'folded', base, values}
end

local function take(counter, clicks)
  local base = redis.call('INCRBY', counter, clicks) - clicks
  redis.call('PEXPIRE', counter, LIFE)
  return base
end

-- One partition, all at once: claims a sequence for every click and appends the clicks to their entities.
-- keys: agreement, counter, newest time, one for each click, one for each entity
-- args: agreement, number of clicks, expiry of claims (s), expiry of entities (ms), token, unused, time of each click,
--       count and entries of each entity's chunk, how each began
-- returns 'folded', base, values; or, with nothing changed, 'known', claims
local function fold(keys, args)
  local refused = disagreement(keys, args)
  if refused then return refused end
  local clicks = tonumber(args[2])
  local claims, found, newest = known(keys, args, clicks, 0)
  if found then return {'known', claims} end
  local base = take(keys[2], clicks)
  for click = 1, clicks do
    local claim = string.format('%.0f %s %s', base + click - 1, args[6 + click], args[5])
    redis.call('SET', keys[3 + click], claim, 'EX', args[3])
  end
  redis.call('SET', keys[3], string.format('%.0f', newest), 'PX', LIFE)
  return append(keys, args, 4 + clicks, 3, base, args[4])
end

-- Several partitions, first step: takes sequences from the counter.
-- keys: agreement, counter; args: agreement, number of clicks; returns 'numbered', base
local function number(keys, args)
  return disagreement(keys, args) or {'numbered', take(keys[2], tonumber(args[2]))}
end

-- Second step: claims those clicks that nobody has claimed.
-- keys: agreement, unused, newest time, one for each click
-- args: agreement, number of clicks, expiry of claims (s), newest time that the caller knows of, token, base, time of each
--       click, offset of each
-- returns 'claimed', the claims of others, '' where the click is the caller's
local function claim(keys, args)
  local refused = disagreement(keys, args)
  if refused then return refused end
  local clicks = tonumber(args[2])
  -- The times of this call's own clicks are told with the next: sent again, this one must find the same repeats.
  local newest = math.max(tonumber(args[4]), tonumber(redis.call('GET', keys[3]) or 0))
  local claims = known(keys, args, clicks, newest)
  for click = 1, clicks do
    if claims[click] == '' then
      local sequence = tonumber(args[6]) + tonumber(args[6 + clicks + click])
      local words = string.format('%.0f %s %s', sequence, args[6 + click], args[5])
      redis.call('SET', keys[3 + click], words, 'EX', args[3])
    end
  end
  redis.call('SET', keys[3], string.format('%.0f', newest), 'PX', LIFE)
  return {'claimed', claims}
end

-- Third step: appends clicks to entities.
-- keys: agreement, one for each entity; args: agreement, base, expiry (ms), count and entries of each chunk
-- returns 'folded', base, values
local function add(keys, args)
  return disagreement(keys, args) or append(keys, args, 2, 2, tonumber(args[2]), args[3])
end

-- Returns the sequences that a value holds as clicks, and the highest one folded into its record.
local function sequences(value, size)
  local held, through, at = {}, -1, 1
  while at <= #value do
    local base, count = struct.unpack('<i8I4', value, at)
    at = at + HEAD
    if count == FOLDED then
      through = base
      at = at + 4 + struct.unpack('<I4', value, at)
    else
      for _ = 1, count do
        held[base + struct.unpack('<I4', value, at)] = true
        at = at + size
      end
    end
  end
  return held, through
end

-- Appends clicks that an earlier call may have appended already: those only that are not there.
-- keys: agreement, one for each entity
-- args: agreement, expiry (ms), then for each entity the size of an entry and its clicks: sequence (int64) and entry
-- returns 'folded', values
local function repair(keys, args)
  local refused = disagreement(keys, args)
  if refused then return refused end
  local values = {}
  for place = 2, #keys do
    local size, wanted = tonumber(args[2 * place - 1]), args[2 * place]
    local whole, held, through = pcall(sequences, redis.call('GET', keys[place]) or '', size)
    -- To a damaged value nothing is added: the rows of its entity cannot be told any more.
    for at = 1, whole and #wanted or 0, 8 + size do
      local sequence = struct.unpack('<i8', wanted, at)
      if sequence > through and not held[sequence] then
        local chunk = struct.pack('<i8I4', sequence, 1) .. string.sub(wanted, at + 8, at + 7 + size)
        redis.call('APPEND', keys[place], chunk)
      end
    end
    values[#values + 1] = redis.call('GETEX', keys[place], 'PX', args[2]) or ''
  end
  return {'folded', values}
end

-- Puts a record in the place of the chunks that were folded into it, unless another caller did so before.
-- keys: agreement, one for each entity
-- args: agreement, expiry (ms), then for each entity the bytes folded, their SHA-1, and the record's chunk
-- returns 'replaced', number of entities
local function replace(keys, args)
  local refused = disagreement(keys, args)
  if refused then return refused end
  local replaced = 0
  for place = 2, #keys do
    local length, digest, chunk = tonumber(args[3 * place - 3]), args[3 * place - 2], args[3 * place - 1]
    local value = redis.call('GET', keys[place])
    if value and #value >= length and redis.sha1hex(string.sub(value, 1, length)) == digest then
      redis.call('SET', keys[place], chunk .. string.sub(value, length + 1), 'PX', args[2])
      replaced = replaced + 1
    end
  end
  return {'replaced', replaced}
end

-- Changes the agreement of a partition, unless another caller did so before; returns the one that holds then.
-- Where a replica took over the counter, sequences go on with the next term: its master may have given out more than the
-- replica heard of, and no sequence may be given out twice.
-- keys: agreement, and the counter where a replica took it over
-- args: the one expected, the one wanted, sequences of a term
local function agree(keys, args)
  local refused = disagreement(keys, args)
  if refused then return refused[2] end
  if keys[2] then
    local term = tonumber(args[3])
    local begun = math.floor(tonumber(redis.call('GET', keys[2]) or 0) / term)
    redis.call('SET', keys[2], string.format('%.0f', (begun + 1) * term), 'PX', LIFE)
  end
  redis.call('SET', keys[1], args[2], 'PX', LIFE)
  return args[2]
end

redis.register_function('slidr_2_fold', fold)
redis.register_function('slidr_2_number', number)
redis.register_function('slidr_2_claim', claim)
redis.register_function('slidr_2_add', add)
redis.register_function('slidr_2_repair', repair)
redis.register_function('slidr_2_replace', replace)
redis.register_function('slidr_2_agree', agree)
